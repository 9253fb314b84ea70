/** Puts together from a job's events how far it has come, and how far each of its pictures has if it makes several. */

import { explainStage } from "../words.js";

/**
 * @typedef {import("../api/types.js").JobEvent} JobEvent
 * @typedef {import("../api/types.js").Request} Request
 * @typedef {"waiting" | "running" | "cancelling" | "done"} State
 * @typedef {{told: string, progress: number, preview: string}} Progress
 *   `told` says what is done; `preview` is a link to a picture of how far it has come, if there is one
 * @typedef {Progress & {state: State, position: number | null, seconds: number | null, pictures: Progress[]}} Standing
 *   `pictures` has one for each if there are several
 */

/** The share of a picture's progress that its steps make up, and its progress after them: as the server counts it. */
const STEPS_SHARE = 0.9;
const AFTER_STEPS = 0.95;

/** @type {Progress} */
const NOTHING = { told: "", progress: 0, preview: "" };

/**
 * @param {Request} request
 * @returns {Standing}
 */
export function newStanding({ n = 1 }) {
  const pictures = n > 1 ? Array.from({ length: n }, () => NOTHING) : [];
  return { ...NOTHING, state: "waiting", position: null, seconds: null, pictures };
}

/**
 * Return how far a job has come after a stage event.
 * @param {Standing} before
 * @param {JobEvent} event
 * @returns {Standing}
 */
export function afterStage(before, event) {
  const { image } = event.extra;
  const isLoading = event.stage === "loading";
  const waits = isLoading || event.stage === "retrying";
  const preview = event.artifacts.find((artifact) => artifact.role === "intermediate")?.image_url;
  const progress = progressAt(event);
  const pictures = isLoading
    ? before.pictures
    : before.pictures.map((picture, index) =>
        image === undefined || image === index
          ? { told: explainStage(event, 0), progress, preview: preview ?? picture.preview }
          : picture,
      );
  const isOne = pictures.length === 0;
  const mean = pictures.reduce((sum, picture) => sum + picture.progress, 0) / pictures.length;
  return {
    state: before.state === "cancelling" ? "cancelling" : waits ? "waiting" : "running",
    told: explainStage(event, isOne || image === undefined ? 0 : image + 1),
    progress: isOne ? progress : mean,
    preview: preview ?? before.preview,
    position: isLoading ? before.position : null,
    seconds: before.seconds,
    pictures,
  };
}

/** @param {JobEvent} event */
function progressAt({ stage, extra: { step = 0, steps = 1 } }) {
  if (stage === "denoising") return (STEPS_SHARE * step) / steps;
  return stage === "loading" || stage === "retrying" ? 0 : AFTER_STEPS;
}
