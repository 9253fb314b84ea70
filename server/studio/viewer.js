/** The dialog that shows one background large, with all there is to know about it. */

import * as api from "./api.js";
import { byId, el, patch, plural, sameOrigin, show, tell } from "./dom.js";
import { explain } from "./words.js";

/**
 * @typedef {import("./api.js").Spec} Spec
 * @typedef {{onUse: (spec: Spec) => void, onAgain: (spec: Spec) => Promise<void>, neighbours: () => string[]}} Wiring
 */

/** @type {Wiring} */
let wiring = { onUse: () => {}, onAgain: async () => {}, neighbours: () => [] };
/** @type {api.Job | null} */
let job = null;
/** The job that was asked for last: a late answer for another one is not shown. */
let wanted = "";

const dialogBox = () => byId("viewer", HTMLDialogElement);
/** @param {string} id */
const button = (id) => byId(id, HTMLButtonElement);

/** @param {Wiring} wires */
export function setUp(wires) {
  wiring = wires;
  const dialog = dialogBox();
  byId("viewer-close").addEventListener("click", () => dialog.close());
  byId("viewer-newer").addEventListener("click", () => turn(-1));
  byId("viewer-older").addEventListener("click", () => turn(1));
  byId("viewer-use").addEventListener("click", use);
  byId("viewer-again").addEventListener("click", () => void again());
  byId("viewer-download").addEventListener("click", (event) => void download(event));
  byId("viewer-copy").addEventListener("click", () => void copySeed());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });
}

export const close = () => dialogBox().close();

/** @param {number} cost  what one more costs */
export function offerPrice(cost) {
  byId("viewer-price").textContent = plural(cost, "credit");
}

/**
 * Show the background of a job.
 * @param {string} jobId
 */
export async function open(jobId) {
  wanted = jobId;
  try {
    const found = await api.job(jobId);
    if (wanted === jobId) present(found);
  } catch (error) {
    if (wanted === jobId) tell(byId("viewer-said"), explain(error));
  }
  const dialog = dialogBox();
  if (dialog.open) return;
  dialog.showModal();
  dialog.scrollTop = 0;
  byId("viewer-details").scrollTop = 0;
}

/** @param {api.Job} found */
function present(found) {
  job = found;
  const { label, image_url, meta } = api.pictureOf(found);
  byId("viewer-title").textContent = label;
  tell(byId("viewer-said"), "");
  presentImage(found);
  byId("viewer-download", HTMLAnchorElement).href = sameOrigin(image_url);
  byId("viewer-facts").replaceChildren(...facts(found), ...evaluation(meta));
  const near = wiring.neighbours();
  const place = near.indexOf(found.public_id);
  button("viewer-newer").disabled = place <= 0;
  button("viewer-older").disabled = place < 0 || place >= near.length - 1;
}

/** @param {api.Job} found */
function presentImage(found) {
  const { label, image_url, meta } = api.pictureOf(found);
  const image = byId("viewer-image", HTMLImageElement);
  image.hidden = false;
  tell(byId("viewer-missing"), "");
  image.alt = `${label}: ${found.request.scene_type}, ${found.request.mood}`;
  image.width = meta.width;
  image.height = meta.height;
  show(image, image_url, () => api.pictureLink(found.public_id), () => {
    image.hidden = true;
    tell(byId("viewer-missing"), "The picture is no longer on the server");
  });
}

/** @param {number} by */
function turn(by) {
  const near = wiring.neighbours();
  const next = near[near.indexOf(wanted) + by];
  if (near.includes(wanted) && next) void open(next);
}

// ── what can be done with it ─────────────────────────────────────────────────────────────────────────────────────────

/** Return the job that is shown. Only buttons that are there while one is shown call this. */
function shown() {
  if (!job) throw new Error("No picture is shown");
  return job;
}

/** Return the request, with everything that the server chose written out. */
function settings() {
  const { model, seed } = api.pictureOf(shown()).meta;
  return { ...shown().request, image_model: model, seed };
}

function use() {
  close();
  wiring.onUse(settings());
}

async function again() {
  const pressed = button("viewer-again");
  pressed.disabled = true;
  try {
    await wiring.onAgain({ ...shown().request, seed: null });
    tell(byId("viewer-said"), "On its way: it is in the list behind this window.");
  } catch (error) {
    tell(byId("viewer-said"), explain(error));
  } finally {
    pressed.disabled = false;
  }
}

/**
 * Save the picture under its name and seed; the server would call it by its id.
 * @param {Event} event
 */
async function download(event) {
  event.preventDefault();
  const { label, meta } = api.pictureOf(shown());
  try {
    const url = URL.createObjectURL(await api.picture(shown().public_id));
    el("a", { href: url, download: fileName(label, meta.seed) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    tell(byId("viewer-said"), explain(error));
  }
}

async function copySeed() {
  const seed = String(api.pictureOf(shown()).meta.seed);
  const done = `Seed ${seed} is on the clipboard.`;
  tell(byId("viewer-said"), (await copy(seed)) ? done : `This browser did not allow it. The seed is ${seed}.`);
}

/**
 * Copy a text and say whether that worked. The clipboard API is missing if the page came over plain HTTP from another machine.
 * @param {string} text
 */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = el("textarea", { value: text, className: "unseen" });
    byId("viewer").append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    byId("viewer-copy").focus();
    return copied;
  }
}

/**
 * @param {string} label
 * @param {number} seed
 */
function fileName(label, seed) {
  const words = label.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80);
  return `${words || "background"}-${seed}.png`;
}

// ── what is known of it ──────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @param {api.Job} found
 * @returns {HTMLElement[]}
 */
function facts({ request, result, created_at, public_id }) {
  const { meta } = api.pictureOf({ public_id, result });
  const colors = (request.dominant_colors ?? []).map((color) => swatch(color, color));
  /** @type {[string, string | Node][]} */
  const rows = [
    ["Scene", request.scene_type],
    ["Mood", request.mood],
    ["Colours", colors.length ? el("span", { className: "swatches" }, ...colors) : ""],
    ["Understood as", understood(meta.understood)],
    ["Brand", request.pilot_brand ?? ""],
    ["Size", `${meta.width} × ${meta.height} pixels`],
    ["Seed", el("code", {}, String(meta.seed))],
    ["Model", `${meta.model}, ${meta.steps} steps, guidance ${meta.guidance}`],
    ["Made", `${new Date(created_at).toLocaleString()}${madeIn(meta.timings)}`],
    ["Finding", meta.technical_failure ? `Delivered although flawed: ${meta.technical_failure}` : ""],
    ["Prompt", meta.prompt],
    ["Job", el("code", {}, public_id)],
  ];
  const known = rows.filter(([, value]) => value);
  return [el("dl", {}, ...known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))];
}

/** @param {api.Meta["understood"]} words */
function understood(words) {
  return words ? [words.scene, words.mood].filter(Boolean).join(", ") : "";
}

/** @param {Record<string, number> | undefined} timings */
function madeIn(timings) {
  const seconds = Object.values(timings ?? {}).reduce((sum, part) => sum + part, 0);
  return seconds ? `, in ${seconds.toFixed(1)} s` : "";
}

/**
 * @param {api.Meta} meta
 * @returns {HTMLElement[]}
 */
function evaluation(meta) {
  const found = meta.eval;
  if (!found) return [];
  const shares = el("div", { className: "shares", role: "img" });
  const words = found.dominant.map(({ color, share }) => `${color} ${percent(share)}`);
  shares.setAttribute("aria-label", `Main colours: ${words.join(", ")}`);
  shares.append(...found.dominant.map(shareBar));
  const measures = `Sharpness ${found.sharpness.toFixed(0)} · contrast ${percent(found.contrast)} · ` +
    `clipped ${percent(found.clipped_black)} black, ${percent(found.clipped_white)} white`;
  return [
    el("h3", {}, "Measured colours"),
    shares,
    ...(found.palette.length ? [el("ul", { className: "palette" }, ...found.palette.map(paletteRow))] : []),
    el("p", { className: "hint" }, measures),
  ];
}

/** @param {{color: string, share: number}} entry */
function shareBar({ color, share }) {
  const bar = el("span", { title: `${color}, ${percent(share)}` });
  bar.style.background = color;
  bar.style.flexGrow = String(share);
  return bar;
}

/** @param {{requested: string, nearest: string, delta_e: number, share: number}} entry */
function paletteRow({ requested, nearest, delta_e, share }) {
  const verdict = delta_e < 2 ? "a match" : delta_e < 10 ? "close" : delta_e < 20 ? "some way off" : "another colour";
  const pairing = el("span", { className: "pairing" }, patch(requested), patch(nearest));
  const text = `${verdict}: ΔE ${delta_e.toFixed(1)}, on ${percent(share)} of the area`;
  return el("li", {}, pairing, el("span", {}, `${requested} asked, ${nearest} found`, el("br"), text));
}

/**
 * @param {string} color
 * @param {string} label
 */
const swatch = (color, label) => el("span", { className: "swatch" }, patch(color), label);

/** @param {number} part */
const percent = (part) => `${(100 * part).toFixed(part < 0.01 && part > 0 ? 1 : 0)} %`;
