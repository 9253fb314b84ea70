/** The estimate of the draft: its price, its wait and how it is understood, as the server says in a dry run. */

import * as calls from "../api/calls.js";
import { ApiError } from "../api/http.js";
import { batch, computed, effect, signal } from "../view.js";
import { chosenModel, chosenTier, draft, request, seed, workflow } from "./draft.js";
import { credits, meet, operations, phase, readCreditsSoon, readOffers } from "./session.js";

/** @typedef {import("../api/types.js").Estimate} Estimate */

/** Milliseconds without a change of the draft before the server is asked. */
const SETTLED_MS = 350;
/** Milliseconds until the server is asked again: the price and the wait change with what others do. */
const OLD_AFTER_MS = 20_000;
/** These stand in for words that are not written yet, which do not change the price. */
const ANY = { scene_type: "studio sweep", mood: "neutral", prompt: "a backdrop" };

/** The latest answer, which may be for the draft of a moment ago. @type {import("../vendor/signals.js").Signal<Estimate | null>} */
export const estimate = signal(null);
/** The question that the latest answer answers. */
const answered = signal("");

const operation = computed(() => operations.value.find((offered) => offered.name === workflow.value));
export const isEnabled = computed(() => operation.value?.enabled ?? false);
/** The price of the chosen model and tier by the list of prices; the estimate knows better. */
const listed = computed(() => {
  const [model, tier] = [chosenModel.value?.name, chosenTier.value];
  return operation.value?.prices.find((price) => price.model === model && price.resolution === tier);
});

/** The timer of the next question; 0 if none is to come. */
let timer = 0;
let latest = 0;

/** Everything that the answer depends on. The seed and the number of pictures do not change the price of one. */
const question = computed(() => JSON.stringify([workflow.value, request()]));
/** The answer to the draft as it is; null until the server has given it. */
const current = computed(() => (answered.value === question.value ? estimate.value : null));

/** Credits for one picture. */
export const price = computed(
  () => current.value?.credits_cost ?? listed.value?.credits_cost ?? operation.value?.credits_cost ?? 0,
);
export const total = computed(() => price.value * draft.value.count);
/** How the draft is understood; null if that is not known, or if the model has no closed vocabulary. */
export const understood = computed(() => current.value?.understood ?? null);

effect(() => {
  question.value;
  if (phase.value === "open") askIn(SETTLED_MS);
});

/** @param {number} delay */
function askIn(delay) {
  clearTimeout(timer);
  timer = setTimeout(() => void refresh(), delay);
}

/** Ask again, soon: a job of this client has begun or ended. */
export function refreshSoon() {
  if (phase.value === "open") askIn(SETTLED_MS);
}

async function refresh() {
  timer = 0;
  const mine = ++latest;
  const asked = question.value;
  const wanted = request();
  const isComplete = workflow.value === "image-generation" ? wanted.prompt?.trim() : wanted.scene_type && wanted.mood;
  try {
    const filled = Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== "" && value !== null));
    const found = await calls.estimate(workflow.value, { ...standIns(), ...filled });
    if (mine === latest) take(isComplete ? found : { ...found, understood: null }, asked);
  } catch (error) {
    // A draft's problems are told when it is sent; until then the user may be in the middle of a word.
    if (mine === latest && error instanceof ApiError) estimate.value = null;
    if (error instanceof ApiError && error.code === "INSUFFICIENT_BALANCE") readCreditsSoon();
  }
  // If the draft or a job has changed meanwhile, the next question is already due, and sooner.
  if (mine === latest && !timer && phase.value === "open" && !document.hidden) askIn(OLD_AFTER_MS);
}

/**
 * @param {Estimate} found
 * @param {string} asked
 */
function take(found, asked) {
  batch(() => {
    estimate.value = found;
    answered.value = asked;
  });
  // Somebody else has spent credits, or the operator has granted some.
  if (found.balance !== credits.value?.balance) readCreditsSoon();
  // The operator has changed the prices since they were read.
  if (listed.value && found.credits_cost !== listed.value.credits_cost) readOffers().catch(meet);
}

function standIns() {
  const { scene_type, mood, prompt } = ANY;
  return workflow.value === "image-generation" ? { prompt } : { scene_type, mood };
}

document.addEventListener("visibilitychange", refreshSoon);

/**
 * Ask what the draft costs now, and remember it. Throws ApiError and Unreachable.
 * @returns {Promise<Estimate>}
 */
export async function askNow() {
  latest += 1;
  const asked = question.value;
  const found = await calls.estimate(workflow.value, { ...request(), seed: Number.isNaN(seed.value) ? null : seed.value });
  take(found, asked);
  return found;
}
