/** The pictures that are being made, in one row that never pushes the catalogue further down. */

import { cancel, left, tasks } from "../state/jobs.js";
import { couldNotLoad, modelOf } from "../state/session.js";
import { html, useEffect } from "../view.js";
import { isVariation, nameOf, numberText, ratioOf, roughly } from "../words.js";
import { Icon } from "./icon.js";
import { Preview } from "./preview.js";
import { Several } from "./several.js";

/** @typedef {import("../state/jobs.js").Task} Task */

/** The most tiles. Further jobs are only counted. */
const MOST_SHOWN = 100;

export function InProgress() {
  const count = left.value;
  useEffect(() => {
    document.title = count ? `(${count}) Backlot` : "Backlot";
  }, [count]);
  if (tasks.value.length === 0) return null;
  const beyond = tasks.value.length - MOST_SHOWN;
  return html`
    <section class="in-progress" aria-labelledby="in-progress-title">
      <div class="heading">
        <h2 id="in-progress-title">In progress <span class="count">${count}</span></h2>
        ${count > 1 && html`<button type="button" class="small" onClick=${cancelAll}>Cancel all</button>`}
      </div>
      <ul class="strip" tabindex="0" aria-labelledby="in-progress-title">
        ${tasks.value.slice(0, MOST_SHOWN).map((task) => html`<${Making} key=${task.id} task=${task} />`)}
        ${beyond > 0 && html`<li class="beyond">and ${beyond.toLocaleString()} more</li>`}
      </ul>
    </section>
  `;
}

function cancelAll() {
  tasks.value.forEach((task) => void cancel(task));
}

/** @param {{task: Task}} props */
function Making({ task }) {
  const { state, progress, preview, pictures } = task.standing.value;
  const { aspect_ratio, metadata } = task.request;
  const ratio = ratioOf(aspect_ratio);
  const name = nameOf(task.request);
  const percent = Math.round(100 * progress);
  return html`
    <li class=${`making ${state}`}>
      ${pictures.length > 0
        ? html`<${Several} pictures=${pictures} ratio=${ratio} />`
        : html`<div class="frame" style=${{ "--ratio": ratio }}><${Preview} url=${preview} /></div>`}
      <div class="about">
        <p class="name" title=${name}>
          <span>${nameOf({ ...task.request, metadata: {} })}</span>
          ${isVariation(metadata?.studio) && html`<small>${numberText(metadata.studio)}</small>`}
        </p>
        <progress max="100" value=${percent} aria-label=${`Progress of ${name}`}>${percent} %</progress>
        <p class="status">${statusText(task)}</p>
      </div>
      ${state !== "done" &&
      html`<button
        type="button"
        class="quiet square"
        title="Cancel and get the credits back"
        aria-label=${`Cancel ${name}`}
        disabled=${state === "cancelling"}
        onClick=${() => void cancel(task)}
      >
        <${Icon} name="close" />
      </button>`}
    </li>
  `;
}

/** @param {Task} task */
function statusText({ request, standing }) {
  const { state, told, position, seconds } = standing.value;
  const model = modelOf(request);
  // Nobody knows when it can be loaded, so no time is told.
  if (state === "waiting" && couldNotLoad(model)) return `Waits for ${model}, which could not be loaded yet`;
  if (state === "waiting" && position !== null) return placeText(position, seconds);
  return told || "Waiting for its turn";
}

/**
 * @param {number} position
 * @param {number | null} seconds
 */
function placeText(position, seconds) {
  const place = position === 0 ? "Next in the queue" : `${position.toLocaleString()} ahead`;
  return seconds === null ? place : `${place}, about ${roughly(seconds)}`;
}
