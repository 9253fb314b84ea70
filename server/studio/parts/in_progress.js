/** The pictures that wait or are being made: tiles at the head of the catalogue, where the finished pictures are going to be. */

import { cancel, left, tasks } from "../state/jobs.js";
import { isSelecting } from "../state/selection.js";
import { couldNotLoad, modelOf } from "../state/session.js";
import { html } from "../view.js";
import { isVariation, nameOf, numberText, roughly } from "../words.js";
import { Icon } from "./icon.js";
import { Preview } from "./preview.js";

/** @typedef {import("../state/jobs.js").Task} Task */

const WAITING = "Waiting for its turn";

export function CancelAll() {
  const count = left.value;
  // On a phone the line has room for this button or for how many pictures are selected.
  if (count < 2 || isSelecting.value) return null;
  return html`<button type="button" class="small" title="Cancel all that waits or runs, and get the credits back" onClick=${cancelAll}>
    Cancel all <span class="count">${count.toLocaleString()}</span>
  </button>`;
}

function cancelAll() {
  tasks.value.forEach((task) => void cancel(task));
}

/**
 * @param {{task: Task, index: number, left: number, top: number, width: number, height: number}} props
 *   `index` says which of the job's pictures it is
 */
export function Making({ task, index, left, top, width, height }) {
  const { request } = task;
  const { n = 1 } = request;
  const standing = task.standing.value;
  const { state } = standing;
  const { progress, preview } = standing.pictures[index] ?? standing;
  const name = nameOf(request);
  const whole = n > 1 ? `all ${n} of ${name}` : name;
  const status = statusText(task, index);
  const percent = Math.round(100 * progress);
  return html`
    <li class=${`making ${state}`} style=${{ left: `${left}px`, top: `${top}px`, width: `${width}px` }}>
      <div class="frame" style=${{ height: `${height}px` }}>
        <${Preview} url=${preview} />
        <p class="status" title=${status}>${status}</p>
        <progress max="100" value=${percent} aria-label=${`Progress of ${n > 1 ? `${name}, ${index + 1} of ${n}` : name}`}>${percent} %</progress>
        ${state !== "done" &&
        html`<button
          type="button"
          title=${`Cancel ${whole} and get the credits back`}
          aria-label=${`Cancel ${whole}`}
          disabled=${state === "cancelling"}
          onClick=${() => void cancel(task)}
        >
          <${Icon} name="close" />
        </button>`}
      </div>
      <p class="caption" title=${name}>
        <bdi class="name">${nameOf({ ...request, metadata: {} })}</bdi>
        <small>${markOf(request, index)}</small>
      </p>
    </li>
  `;
}

/**
 * Return which of its order a picture is; an empty text if it was ordered alone.
 * @param {import("../state/jobs.js").Request} request
 * @param {number} index
 */
function markOf({ metadata, n = 1 }, index) {
  if (isVariation(metadata?.studio)) return numberText(metadata.studio);
  return n > 1 ? numberText({ number: index + 1, of: n }) : "";
}

/**
 * @param {Task} task
 * @param {number} index
 */
function statusText({ request, standing }, index) {
  const { state, told, position, seconds, pictures } = standing.value;
  const model = modelOf(request);
  // Nobody knows when it can be loaded, so no time is told.
  if (state === "waiting" && couldNotLoad(model)) return `Waits for ${model}, which could not be loaded yet`;
  if (state === "waiting" && position !== null) return placeText(position, seconds);
  const own = state === "running" ? pictures[index] : undefined;
  return (own ?? { told }).told || WAITING;
}

/**
 * @param {number} position
 * @param {number | null} seconds
 */
function placeText(position, seconds) {
  const place = position === 0 ? "Next in the queue" : `${position.toLocaleString()} ahead`;
  return seconds === null ? place : `${place}, about ${roughly(seconds)}`;
}
