/** Explains the server's codes to people who make pictures. */

import { ApiError } from "./api/http.js";

/** Suggestions for a model that takes any scene and mood. */
export const SCENES = [
  "studio sweep", "marble", "wood", "fabric", "concrete", "bokeh", "beach", "window light", "podium",
];
export const MOODS = ["warm", "cool", "bright", "dark", "dramatic", "soft", "vivid", "neutral"];

export const RATIOS = ["1:1", "5:4", "4:5", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16", "21:9"];

/**
 * Return width divided by height.
 * @param {string | null | undefined} ratio
 */
export function ratioOf(ratio) {
  const [across = 1, down = 1] = (ratio ?? "1:1").split(":").map(Number);
  return across / down || 1;
}

/**
 * Return a count with its noun: `1 picture`, `2 pictures`.
 * @param {number} count
 * @param {string} noun
 */
export const plural = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

/**
 * Say what went wrong with a request, and what to do.
 * @param {unknown} error
 */
export function explain(error) {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  const wait = error.retryAfter ? `in ${plural(error.retryAfter, "second")}` : "in a little while";
  switch (error.code) {
    case "INSUFFICIENT_BALANCE":
      return `Not enough credits. ${error.message}. Nothing was taken.`;
    case "RATE_LIMITED":
      return `That was too many requests with this key at once. Try again ${wait}.`;
    case "PRICE_TOO_HIGH":
      return `The price has changed. ${error.message}. Nothing was taken; press again if you agree.`;
    case "DISK_FULL":
      return `The server's disk is full. Try again ${wait}, and tell the operator.`;
    case "QUEUE_FULL":
      return `The queue is full; nothing was charged for what it could not take. Try again ${wait}, or wait for some jobs to end.`;
    case "OPERATION_DISABLED":
      return "This is switched off on this server at the moment. The operator can switch it on.";
    case "FORBIDDEN":
      return `${sentence(error.message)} Ask the operator for one that has it.`;
    default:
      return error.message;
  }
}

/** @param {string} text */
export const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

/**
 * Say why the server did not take an order now, and that it costs nothing.
 * @param {ApiError} error  with the status 503
 */
export function explainNotTaken(error) {
  const told = sentence(explain(error));
  return /nothing was (made or )?charged/.test(told) ? told : `${told} Nothing was charged.`;
}

/**
 * Say what is wrong with one field of a request.
 * @param {import("./api/types.js").Detail} detail
 */
export function explainDetail({ loc, msg, type }) {
  const empty = type === "missing" || type === "too_short";
  if (empty && loc[1] === "scene_type") return "What should be in the picture? Marble, for example.";
  if (empty && loc[1] === "mood") return "How should it feel? Warm, for example.";
  if (empty && loc[1] === "prompt") return "Say in your own words what you want to see.";
  if (loc[1] === "dominant_colors" && loc.length === 2 && type === "too_long") return "At most eight colours.";
  return msg;
}

/**
 * Why a job failed, by `extra.reason`.
 * @type {Record<string, string>}
 */
const REASONS = {
  cancelled: "Cancelled.",
  black_image: "The picture came out black.",
  blank_image: "The picture came out blank.",
  flat_image: "The picture came out as one flat colour.",
  nan_latents: "The calculation broke down. Another seed usually helps.",
  nan_image: "The calculation broke down. Another seed usually helps.",
  out_of_memory: "The graphics card ran out of memory. A lower resolution may fit.",
  worker_crashed: "The GPU process stopped. The server restarts it; try once more.",
  step_timeout: "It took too long and was stopped.",
  write_timeout: "Saving the picture took too long. The operator should look at the server's disk.",
  pipeline_error: "The model could not make this picture. The operator finds out why in the server's log.",
  load_timeout: "The model took too long to load.",
  model_load_failed: "The model could not be loaded. The operator finds out why at /readyz.",
  lora_unusable: "A LoRA that it names does not fit the model.",
  model_removed: "That model is no longer offered.",
  server_restarted: "The server was restarted while this ran. Try once more.",
  image_not_written: "The picture could not be finished or saved. The operator finds out why in the server's log.",
};

/** Reasons that last until the settings or the operator's files are changed. */
const LASTING = ["out_of_memory", "lora_unusable"];
/** Reasons that the same seed brings again. */
const OF_THE_SEED = ["black_image", "blank_image", "flat_image", "nan_latents", "nan_image"];

/**
 * Return whether another job of the same settings may go well.
 * @param {string} reason  why this one failed
 * @param {import("./api/types.js").Request} request
 */
export function mayGoWell(reason, { seed }) {
  const isAsBefore = OF_THE_SEED.includes(reason) && typeof seed === "number";
  return !isAsBefore && !LASTING.includes(reason);
}

/**
 * Say why a job failed.
 * @param {import("./api/types.js").JobEvent} event
 */
export function explainFailure({ extra, message }) {
  const reason = REASONS[extra.reason ?? ""] ?? message;
  return extra.refunded ? `${reason} ${plural(extra.refunded, "credit")} given back.` : reason;
}

/**
 * Say what a job is doing.
 * @param {import("./api/types.js").JobEvent} event
 * @param {number} image  which of the job's pictures the event is of, from 1; 0 if the job has only one
 */
export function explainStage({ stage, message, extra }, image) {
  const which = image ? `Picture ${image}: ` : "";
  switch (stage) {
    case "loading":
      if (extra.total_bytes) return message;
      return `Loading the model ${extra.model ?? ""} …`;
    case "denoising":
      return `${which}${image ? "step" : "Step"} ${extra.step} of ${extra.steps}`;
    case "decoding":
      return `${which}${image ? "developing" : "Developing"} …`;
    case "evaluating":
      return `${which}${image ? "measuring" : "Measuring"} …`;
    case "retrying":
      return "Starting again …";
    default:
      return message;
  }
}

/**
 * Say why the server is not ready; return an empty text if it is.
 * @param {import("./api/types.js").Readiness} state
 */
export const explainReadiness = ({ ready, reason }) =>
  ready ? "" : `The server is not ready: ${sentence(reason ?? "it does not say why")} What is in the queue waits.`;

/**
 * Say how long something takes, as roughly as it is known.
 * @param {number} seconds
 */
export function roughly(seconds) {
  if (seconds < 10) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90) return `${5 * Math.round(seconds / 5)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

/** Characters that turn the direction of writing. */
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/** Return a text so that it cannot turn the direction of the writing around it. @param {string} text */
export const isolated = (text) => (BIDI.test(text) ? `\u2068${text}\u2069` : text);

/**
 * Return the name by which a picture goes until the server has coined one.
 * @param {import("./api/types.js").Request} request
 */
export function nameOf({ display_name, mood, scene_type, prompt, metadata }) {
  const words = display_name || (scene_type ? `${mood} ${scene_type}` : (prompt ?? "Picture"));
  return numbered(isolated(words.charAt(0).toUpperCase() + words.slice(1)), metadata?.studio);
}

/**
 * Return a picture's name, with its number if several were ordered together.
 * @param {string} name
 * @param {import("./api/types.js").Variation | undefined} variation
 */
export const numbered = (name, variation) => (isVariation(variation) ? `${name}, ${numberText(variation)}` : name);

/** @param {{number: number, of: number}} place */
export const numberText = ({ number, of }) => `${number} of ${of}`;

/**
 * Return which of the pictures that were ordered together an entry is; null if it was ordered alone.
 * @param {import("./api/types.js").Entry} entry
 * @returns {{order: string, number: number, of: number} | null}
 */
export function placeOf({ spec, number, of, generation_job_public_id: order }) {
  if (isVariation(spec.metadata.studio)) return spec.metadata.studio;
  return of > 1 ? { order, number, of } : null;
}

/**
 * Return whether this is the page's own note of a variation: a script may have written anything in its place.
 * @param {unknown} found
 * @returns {found is import("./api/types.js").Variation}
 */
export function isVariation(found) {
  if (typeof found !== "object" || found === null) return false;
  const { number, of, order } = /** @type {Record<string, unknown>} */ (found);
  return Number.isInteger(number) && Number.isInteger(of) && typeof order === "string";
}
