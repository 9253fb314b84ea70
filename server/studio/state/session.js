/** The session: who uses the page, and what the server offers them: key, models, prices, credits, readiness. */

import * as calls from "../api/calls.js";
import { ApiError, GivenUp, unanswered, useKey } from "../api/http.js";
import { batch, computed, effect, signal } from "../view.js";
import { explain } from "../words.js";
import { keep, kept } from "./storage.js";
import { finishAll } from "./toasts.js";

/**
 * @template T
 * @typedef {import("../vendor/signals.js").Signal<T>} Signal
 */

/** Milliseconds between reads of the readiness, while the server is not ready and while it is; and after news of it. */
const READINESS_MS = { missing: 3_000, there: 30_000, news: 150 };

/** @type {Signal<"asking" | "entering" | "open">} */
export const phase = signal("asking");
export const key = signal("");
/** Why the key was not taken, or why the page was left. */
export const keyProblem = signal("");
/** Whether the key that was not taken is one for the desk. */
export const isForDesk = signal(false);
/** @type {Signal<import("../api/types.js").Model[]>} */
export const models = signal([]);
/** @type {Signal<import("../api/types.js").Operation[]>} */
export const operations = signal([]);
/** @type {Signal<import("../api/types.js").Totals | null>} */
export const credits = signal(null);
/** @type {Signal<import("../api/types.js").Readiness | null>} */
export const readiness = signal(null);
/** Why the server cannot be reached; empty if it can. */
export const silence = signal("");

export const isTest = computed(() => key.value.startsWith("sk_test_"));
/** The words of the models that know only some. */
export const vocabularies = computed(() => models.value.flatMap(({ vocabulary }) => vocabulary ?? []));
export const defaultModel = computed(() => models.value.find((model) => model.default) ?? models.value[0] ?? null);

/**
 * Return whether a model could not be loaded when it was last needed. Only a job that needs it has it tried again.
 * @param {string | undefined} model
 */
export const couldNotLoad = (model) => model !== undefined && model in (readiness.value?.load_errors ?? {});

/**
 * Return the name of the model that a request is for.
 * @param {import("../api/types.js").Request} request
 */
export const modelOf = ({ image_model }) => image_model ?? defaultModel.value?.name;

/**
 * Return the key in a text: a key by itself, or a link that carries one.
 * @param {string} text
 */
export const keyIn = (text) => text.match(/sk_(live|test)_[\w-]+/)?.[0] ?? text.trim();

/** Take a key out of the address, so that it neither stays in the history nor on the screen. */
export function keyFromAddress() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const found = parts.get("key");
  if (!found) return "";
  parts.delete("key");
  const rest = parts.toString();
  history.replaceState(history.state, "", location.pathname + location.search + (rest && `#${rest}`));
  return found;
}

export const keptKey = () => kept("key", "");

/**
 * Open the page with a key. If the key has used up its rate limit, this waits until it may go on.
 * @param {string} wanted
 */
export async function enter(wanted) {
  if (!/^[!-~]+$/.test(wanted)) {
    isForDesk.value = false;
    keyProblem.value = "That is no key: keys are written sk_live_… or sk_test_…";
    return;
  }
  finishAll();
  batch(() => {
    key.value = wanted;
    keyProblem.value = "";
    isForDesk.value = false;
    phase.value = "entering";
  });
  useKey(wanted);
  try {
    await readOffers();
  } catch (error) {
    if (key.value !== wanted) return;
    // A key that the server refuses is of no use. If the server could not be asked, the key may be good.
    if (error instanceof ApiError && error.status === 401) keep("key", null);
    batch(() => {
      isForDesk.value = error instanceof ApiError && error.code === "FORBIDDEN" && /it has (.*, )?admin\b/.test(error.message);
      keyProblem.value = isForDesk.value ? "This is a key for the desk, where the operator works." : explain(error);
      phase.value = "asking";
    });
    return;
  }
  if (key.value !== wanted) return;
  keep("key", wanted);
  phase.value = "open";
}

/**
 * Forget the key, and ask for one again.
 * @param {string} [why]
 */
export function leave(why = "") {
  finishAll();
  keep("key", null);
  useKey("");
  batch(() => {
    key.value = "";
    phase.value = "asking";
    keyProblem.value = why;
    isForDesk.value = false;
    credits.value = null;
  });
}

/** Read models, prices and the balance: they change while the page is open. */
export async function readOffers() {
  const [itsModels, itsOperations, itsCredits] = await Promise.all([
    calls.models(),
    calls.operations(),
    calls.credits(),
  ]);
  batch(() => {
    models.value = itsModels;
    operations.value = itsOperations;
    credits.value = itsCredits;
  });
}

let creditsTimer = 0;

/** Read the balance soon: several jobs often begin or end together. */
export function readCreditsSoon() {
  clearTimeout(creditsTimer);
  creditsTimer = setTimeout(() => {
    if (phase.value !== "open") return;
    calls.credits().then((found) => void (credits.value = found), meet);
  }, 200);
}

/**
 * Take an error of a request that the page made by itself: leave if the server refuses the key, else say that it is silent.
 * @param {unknown} error
 */
export function meet(error) {
  if (error instanceof GivenUp) return;
  if (error instanceof ApiError && error.status === 401) leave(explain(error));
  else silence.value = explain(error);
}

let readinessTimer = 0;

/** Read the server's readiness again and again. */
export async function watchReadiness() {
  clearTimeout(readinessTimer);
  try {
    readiness.value = await calls.readiness();
    silence.value = "";
  } catch (error) {
    silence.value = explain(error);
  }
  const isReady = readiness.value?.ready && !silence.value;
  clearTimeout(readinessTimer);
  readinessTimer = setTimeout(watchReadiness, isReady ? READINESS_MS.there : READINESS_MS.missing);
}

/** Read the readiness soon: something has happened that it may tell of. */
export function readReadinessSoon() {
  clearTimeout(readinessTimer);
  readinessTimer = setTimeout(watchReadiness, READINESS_MS.news);
}

effect(() => {
  // While the server does not answer, its readiness is read often anyway.
  if (unanswered.value && !silence.peek()) readReadinessSoon();
});
