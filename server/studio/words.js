/** What the server's codes mean to somebody who makes pictures. */

import { ApiError } from "./api.js";
import { plural } from "./dom.js";

/** The scenes that studio-tiny knows; other models take any. */
export const SCENES = [
  "studio sweep", "marble", "wood", "fabric", "concrete", "bokeh", "beach", "window light", "podium",
];

export const MOODS = [
  "warm", "cool", "bright", "dark", "dramatic", "soft", "vivid", "neutral", "calm", "airy", "moody", "elegant",
];

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
    case "QUEUE_FULL":
      return `The queue is full; nothing was charged for what it could not take. Try again ${wait}, or wait for some jobs to end.`;
    case "OPERATION_DISABLED":
      return "Generating backgrounds is switched off on this server at the moment. The operator can switch it on.";
    case "FORBIDDEN":
      return `This key may not do that: ${error.message}. Ask the operator for one that may.`;
    default:
      return error.status >= 500 ? `${error.message}. Nothing was charged; try again.` : error.message;
  }
}

/**
 * Say what is wrong with one field of a request.
 * @param {import("./api.js").Detail} detail
 */
export function explainDetail({ loc, msg, type }) {
  const empty = type === "missing" || type === "too_short";
  if (empty && loc[1] === "scene_type") return "What should be in the picture? Marble, for example.";
  if (empty && loc[1] === "mood") return "How should it feel? Warm, for example.";
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
  model_removed: "That model is no longer offered.",
  server_restarted: "The server was restarted while this ran. Try once more.",
  image_not_written: "The picture could not be finished or saved. The operator finds out why in the server's log.",
};

/**
 * Say why a job failed.
 * @param {import("./api.js").JobEvent} event
 */
export function explainFailure({ extra, message }) {
  const reason = REASONS[extra.reason ?? ""] ?? message;
  return extra.refunded ? `${reason} ${plural(extra.refunded, "credit")} given back.` : reason;
}

/**
 * Say what a job is doing.
 * @param {import("./api.js").JobEvent} event
 */
export function explainStage({ stage, message, extra }) {
  switch (stage) {
    case "loading":
      if (extra.total_bytes) return message;
      return `Loading the model ${extra.model ?? ""} …`;
    case "denoising":
      return `Step ${extra.step} of ${extra.steps}`;
    case "decoding":
      return "Developing the picture …";
    case "evaluating":
      return "Measuring the picture …";
    default:
      return message;
  }
}

/**
 * Say why nothing can be generated now; return an empty text if something can.
 * @param {import("./api.js").Readiness} state
 */
export function explainReadiness(state) {
  if (state.ready) return "";
  const wait = "What you ask for now waits in the queue until it can be made.";
  if (state.downloads.length) return `${state.reason}. ${wait}`;
  const failed = Object.entries(state.load_errors);
  if (failed.length) {
    const told = failed.map(([model, reason]) => `${model}: ${reason}`).join("; ");
    return `The model could not be loaded. The operator needs to look at it. (${told})`;
  }
  if (state.gpu_process === "restarting") return `The GPU process stopped, and the server is restarting it. ${wait}`;
  return `The model is being loaded … ${wait}`;
}

/**
 * Return the name by which a job goes until the server has coined one.
 * @param {import("./api.js").Spec} spec
 */
export function nameOf(spec) {
  const words = spec.display_name || `${spec.mood} ${spec.scene_type}`;
  return words.charAt(0).toUpperCase() + words.slice(1);
}
