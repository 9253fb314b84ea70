/** The studio page: opens with a key, and ties the form, the jobs and the catalogue together. */

import * as api from "./api.js";
import { announce, byId, el, patch, plural, tell } from "./dom.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as jobs from "./jobs.js";
import * as viewer from "./viewer.js";
import { explain, explainReadiness, nameOf } from "./words.js";

/** @typedef {import("./api.js").Spec} Spec */

const STORED = "backlot-key";
/** Milliseconds between reads of the readiness, while the server is not ready and while it is. */
const READINESS_MS = { missing: 3_000, there: 30_000 };

/** What a newcomer may start from. @type {Spec[]} */
const IDEAS = [
  { scene_type: "marble", mood: "warm", dominant_colors: ["#f1e6d2", "#c9a66b"], aspect_ratio: "4:3" },
  { scene_type: "podium", mood: "soft", dominant_colors: ["#d9c2bd", "#f3ebe7"], aspect_ratio: "4:5" },
  { scene_type: "beach", mood: "bright", dominant_colors: ["#7fb3c8", "#e8d8b8"], aspect_ratio: "16:9" },
  { scene_type: "concrete", mood: "dramatic", dominant_colors: ["#4a4d52"], aspect_ratio: "1:1" },
];

// ── the key ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Return the key in a text: a key by itself, or a link that carries one.
 * @param {string} text
 */
const keyIn = (text) => text.match(/sk_(live|test)_[\w-]+/)?.[0] ?? text.trim();

/** Storage may be switched off; the key then lasts as long as the page. */
const stored = {
  read: () => attempt(() => localStorage.getItem(STORED)) ?? "",
  /** @param {string} key */
  write: (key) => attempt(() => localStorage.setItem(STORED, key)),
  forget: () => attempt(() => localStorage.removeItem(STORED)),
};

/**
 * @template T
 * @param {() => T} work
 */
function attempt(work) {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Take a key out of the address, so that it neither stays in the history nor on the screen. */
function keyFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("key");
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found ?? "";
}

/** @param {string} key */
async function enter(key) {
  if (!/^[!-~]+$/.test(key)) {
    leave("That is no key: keys are written sk_live_… or sk_test_…");
    return;
  }
  leave();
  tell(byId("key-problem"), "");
  api.useKey(key);
  try {
    const [models, price, balance] = await Promise.all([api.models(), api.price(), api.balance()]);
    form.offerModels(models);
    form.offerPrice(price);
    viewer.offerPrice(price.credits_cost);
    showBalance(balance);
  } catch (error) {
    leave(explain(error));
    // A key that the server refuses is of no use. If the server could not be asked, the key may be good.
    if (error instanceof api.ApiError && error.status === 401) stored.forget();
    return;
  }
  stored.write(key);
  byId("test-badge").hidden = !key.startsWith("sk_test_");
  showStudio(true);
  await Promise.all([gallery.loadMore(), jobs.restore().catch(meet)]);
}

/**
 * Go back to where a key is asked for.
 * @param {string} [why]
 */
function leave(why = "") {
  api.useKey("");
  jobs.clear();
  gallery.clear();
  viewer.close();
  showStudio(false);
  tell(byId("key-problem"), why);
}

/** @param {boolean} open */
function showStudio(open) {
  byId("studio").hidden = !open;
  byId("welcome").hidden = open;
  byId("forget").hidden = !open;
  byId("balance").hidden = !open;
}

/**
 * Show an error; leave if it says that the key was revoked while the page was open.
 * @param {unknown} error
 */
function meet(error) {
  if (error instanceof api.ApiError && error.status === 401) {
    stored.forget();
    leave(explain(error));
  } else {
    tell(byId("notice"), explain(error));
  }
}

// ── credits ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {number} balance */
function showBalance(balance) {
  byId("balance-value").textContent = balance.toLocaleString();
  form.offerBalance(balance);
}

const refreshBalance = async () => showBalance(await api.balance());

// ── ordering ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {Spec[]} specs */
async function order(specs) {
  let sent = 0;
  let last = "";
  try {
    for (const spec of specs) {
      const { job_id } = await api.generate(spec);
      jobs.add(job_id, spec, last);
      last = job_id;
      sent += 1;
    }
  } catch (error) {
    if (error instanceof api.ApiError && error.status === 401) return meet(error);
    throw sent ? new Error(`${sent} of ${specs.length} are on the way. ${explain(error)}`) : error;
  } finally {
    if (sent) await refreshBalance().catch(meet);
  }
  announce(`${plural(sent, "background")} on the way`);
  byId("jobs").scrollIntoView({ block: "nearest" });
}

let ending = 0;

/** Several jobs often end together: look once for all of them. */
function onJobEnded() {
  clearTimeout(ending);
  ending = setTimeout(() => void Promise.all([refreshBalance(), gallery.loadNewest()]).catch(meet), 200);
}

/** @param {Spec} idea */
function ideaButton(idea) {
  const patches = (idea.dominant_colors ?? []).map(patch);
  const shape = el("small", {}, idea.aspect_ratio ?? "");
  return el("button", { type: "button", onclick: () => form.fill(idea) }, ...patches, nameOf(idea), shape);
}

// ── readiness ────────────────────────────────────────────────────────────────────────────────────────────────────────

let nextReadiness = 0;

/** Say why nothing can be made, for as long as that is so. */
async function watchReadiness() {
  clearTimeout(nextReadiness);
  let pause = READINESS_MS.missing;
  try {
    const state = await api.readiness();
    tell(byId("notice"), explainReadiness(state));
    tell(byId("engine"), state.ready ? [state.models.join(", "), state.device].filter(Boolean).join(" on ") : "");
    pause = state.ready ? READINESS_MS.there : READINESS_MS.missing;
  } catch (error) {
    tell(byId("notice"), explain(error));
  }
  clearTimeout(nextReadiness);
  nextReadiness = setTimeout(watchReadiness, pause);
}

// ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function start() {
  form.setUp(order);
  jobs.setUp({ onEnded: onJobEnded, onOpen: viewer.open, onSilence: watchReadiness });
  gallery.setUp(viewer.open);
  viewer.setUp({ onUse: form.fill, onAgain: (spec) => order([spec]), neighbours: gallery.shown });
  byId("ideas").append(...IDEAS.map(ideaButton));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void enter(keyIn(byId("key", HTMLInputElement).value));
  });
  byId("forget").addEventListener("click", () => {
    stored.forget();
    byId("key", HTMLInputElement).value = "";
    leave();
    byId("key").focus();
  });
  addEventListener("hashchange", () => {
    const key = keyFromAddress();
    if (key) void enter(key);
  });
  const key = keyFromAddress() || stored.read();
  if (key) void enter(key);
  else showStudio(false);
  void watchReadiness();
}

start();
