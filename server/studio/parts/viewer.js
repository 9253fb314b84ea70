/** One picture, large, with all that is known of it and the actions on it. Its address can be sent to others. */

import * as calls from "../api/calls.js";
import { ofThisHost } from "../api/http.js";
import { address, closePicture, openPicture } from "../state/address.js";
import { entries, entryWith, find, readMore, see, total, unseen } from "../state/catalogue.js";
import { left } from "../state/jobs.js";
import { favourByKey, remove } from "../state/selection.js";
import { announce } from "../state/toasts.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { explain } from "../words.js";
import { Actions } from "./actions.js";
import { Facts } from "./facts.js";
import { Icon } from "./icon.js";
import { Name } from "./name.js";
import { Stage } from "./stage.js";
import { labelOf } from "./tile.js";
import { Toasts } from "./toasts.js";

/**
 * @typedef {import("../api/types.js").Entry} Entry
 * @typedef {import("../api/types.js").Job} Job
 */

export function Viewer() {
  const id = address.value.picture;
  return id ? html`<${Dialog} id=${id} />` : null;
}

/** @param {{id: string}} props */
function Dialog({ id }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const head = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { entry, job, problem } = usePicture(id);
  const shown = useRef(id);
  shown.current = id;
  useEffect(() => {
    dialog.current?.showModal();
    // Otherwise the first radio button would take the focus and the arrow keys. If the dialog as a whole had the focus, a screen
    // reader would read all of it.
    head.current?.focus();
    return () => focusTile(shown.current);
  }, []);
  /** @param {Event} event */
  const onCancel = (event) => {
    event.preventDefault();
    void closePicture();
  };
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") void turn(id, -1);
    if (event.key === "ArrowRight") void turn(id, 1);
    if (event.key.toLowerCase() === "f" && entry) favourByKey(entry);
    if (event.key === "Delete" && entry) void goOnFrom(id, () => remove([entry]));
  };
  return html`
    <dialog class="viewer" tabindex="-1" ref=${dialog} aria-labelledby="viewer-title" onCancel=${onCancel} onClose=${closePicture} onKeyDown=${onKeyDown}>
      ${entry ? html`<${Stage} entry=${entry} />` : html`<div class="stage"><p class="missing">${problem}</p></div>`}
      <${Turns} id=${id} />
      <div class="facts" tabindex="-1">
        <div class="heading landing" tabindex="-1" ref=${head}>
          ${entry ? html`<${Name} entry=${entry} />` : html`<h2 id="viewer-title">Picture</h2>`}
          <button type="button" class="quiet square" aria-label="Close" title="Close (Esc)" onClick=${closePicture}>
            <${Icon} name="close" />
          </button>
        </div>
        ${entry && html`<${Actions} entry=${entry} job=${job} goOn=${(/** @type {() => void} */ work) => void goOnFrom(id, work)} />`}
        <${Coming} />
        ${entry && html`<${Facts} entry=${entry} job=${job} />`}
      </div>
      <${Toasts} />
    </dialog>
  `;
}

/**
 * Focus a picture's tile, or the catalogue if it is not in the page, unless something else has the focus.
 * @param {string} id
 */
function focusTile(id) {
  if (document.activeElement !== document.body) return;
  const button = document.querySelector(`[data-id="${CSS.escape(id)}"] .open`) ?? document.querySelector(".landing");
  if (button instanceof HTMLElement) button.focus();
}

/**
 * Read an entry, and the job that made it. What was read for another picture is not shown.
 * @param {string} id
 */
function usePicture(id) {
  const [found, setFound] = useState(/** @type {Entry | null} */ (null));
  const [job, setJob] = useState(/** @type {Job | null} */ (null));
  const [problem, say] = useState("");
  useEffect(() => {
    let isWanted = true;
    see(id);
    say("");
    setJob(null);
    find(id)
      .then(async (entry) => {
        if (isWanted) setFound(entry);
        const itsJob = await calls.job(entry.generation_job_public_id);
        if (isWanted) setJob(itsJob);
      })
      .catch((error) => isWanted && say(explain(error)));
    preload(id);
    return () => void (isWanted = false);
  }, [id]);
  const entry = entryWith(id) ?? (found?.public_id === id ? found : null);
  const itsJob = job && entry?.generation_job_public_id === job.public_id ? job : null;
  return { entry, job: itsJob, problem };
}

/**
 * Fetch the neighbours' pictures, so that turning to them shows them at once.
 * @param {string} id
 */
function preload(id) {
  const index = indexOf(id);
  for (const neighbour of [entries.value[index + 1], entries.value[index - 1]]) {
    if (index >= 0 && neighbour) new Image().src = ofThisHost(neighbour.image_url);
  }
}

/**
 * Go to a neighbour, reading on in the catalogue if need be.
 * @param {string} id
 * @param {1 | -1} by
 */
async function turn(id, by) {
  const next = await neighbour(id, by);
  if (next && address.value.picture === id) turnTo(next);
}

/**
 * Let a picture leave the list, and go on to the one after it; from the last one to the one before it, and from the only
 * one back to the list.
 * @param {string} id
 * @param {() => void} work  takes the picture off the list
 */
async function goOnFrom(id, work) {
  const next = (await neighbour(id, 1)) ?? (await neighbour(id, -1));
  if (address.value.picture !== id) return;
  if (!next) await closePicture();
  work();
  if (next) turnTo(next);
}

/**
 * Return the entry beside a picture, reading on if need be; undefined if there is none.
 * @param {string} id
 * @param {1 | -1} by
 */
async function neighbour(id, by) {
  const index = indexOf(id);
  if (index < 0) return undefined;
  while (index + by >= entries.value.length && entries.value.length < total.value) {
    const before = entries.value.length;
    await readMore();
    if (entries.value.length === before) return undefined;
  }
  return entries.value[index + by];
}

/** @param {Entry} entry */
function turnTo(entry) {
  openPicture(entry.public_id);
  announce(`${labelOf(entry)}, ${placeText(indexOf(entry.public_id))}`);
}

/** @param {string} id */
const indexOf = (id) => entries.value.findIndex((entry) => entry.public_id === id);

/** @param {number} index */
const placeText = (index) => `${(index + 1).toLocaleString()} of ${total.value.toLocaleString()}`;

/** Tell what is in progress and what has come since: the dialog hides both. */
function Coming() {
  const fresh = entries.value.filter(({ public_id }) => unseen.value.has(public_id));
  const next = fresh.at(-1);
  if (!left.value && !next) return null;
  return html`
    <p class="coming">
      ${next && html`<button type="button" class="small" onClick=${() => turnTo(next)}>Show the next of ${fresh.length} new</button>`}
      ${left.value > 0 && html`<span>${left.value} in progress</span>`}
    </p>
  `;
}

/** @param {{id: string}} props */
function Turns({ id }) {
  const index = indexOf(id);
  if (index < 0) return null;
  return html`
    <nav class="turns" aria-label="Neighbours">
      <button
        type="button"
        class="square"
        aria-label="Newer picture"
        title="Newer (←)"
        disabled=${index === 0}
        onClick=${() => void turn(id, -1)}
      >
        <${Icon} name="previous" />
      </button>
      <span>${placeText(index)}</span>
      <button
        type="button"
        class="square"
        aria-label="Older picture"
        title="Older (→)"
        disabled=${index + 1 >= total.value}
        onClick=${() => void turn(id, 1)}
      >
        <${Icon} name="next" />
      </button>
    </nav>
  `;
}
