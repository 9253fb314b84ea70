/** The jobs in progress, as cards that follow them to their end. */

import * as api from "./api.js";
import { announce, byId, el, show, tell } from "./dom.js";
import { explain, explainFailure, explainStage, nameOf, ratioOf } from "./words.js";

/**
 * @typedef {import("./api.js").Spec} Spec
 * @typedef {"waiting" | "running" | "done" | "failed"} State
 * @typedef {{title: HTMLElement, frame: HTMLButtonElement, image: HTMLImageElement, bar: HTMLProgressElement,
 *   status: HTMLElement, cancel: HTMLButtonElement, dismiss: HTMLButtonElement, card: HTMLElement}} View
 * @typedef {{id: string, spec: Spec, state: State, seq: number, position: number | null, progress: number,
 *   status: string, readAt: number, stream: AbortController | null, view: View}} Entry
 */

/** Browsers open six connections to a server, for all tabs together. Two follow jobs; the rest are read in turn. */
const MOST_STREAMS = 2;
/** How many jobs are read each second, at most: well below the rate limit of a key. */
const READS_PER_TICK = 2;
const TICK_MS = 1000;
/** Milliseconds between reads while nobody answers. */
const SILENT_TICK_MS = 5000;

/** @type {Map<string, Entry>} */
const entries = new Map();
let ticking = false;

/**
 * What others do when a job has ended, when its picture is to be opened, and when nobody answers.
 * @type {{onEnded: () => void, onOpen: (jobId: string) => void, onSilence: () => void}}
 */
let listeners = { onEnded: () => {}, onOpen: () => {}, onSilence: () => {} };

/** @param {typeof listeners} wanted */
export function setUp(wanted) {
  listeners = wanted;
  byId("clear-jobs").addEventListener("click", () => [...entries.values()].filter(ended).forEach(dismiss));
  document.addEventListener("visibilitychange", assignStreams);
}

/** Stop following everything. */
export function clear() {
  [...entries.values()].forEach(dismiss);
}

/** Take up the jobs that were under way before the page was opened. */
export async function restore() {
  const ids = [...(await api.jobsWith("IN_PROGRESS")), ...(await api.jobsWith("NOT_STARTED"))];
  for (const id of ids.reverse()) {
    if (entries.has(id)) continue;
    const job = await api.job(id);
    add(id, job.request);
    applyJob(/** @type {Entry} */ (entries.get(id)), job);
  }
}

/**
 * Follow a job.
 * @param {string} id
 * @param {Spec} spec
 * @param {string} [before]  the job of the same order that it comes after; without it the card goes before all others
 */
export function add(id, spec, before) {
  if (entries.has(id)) return;
  /** @type {Entry} */
  const entry = {
    id, spec, state: "waiting", seq: 0, position: null, progress: 0, status: "Waiting for its turn",
    readAt: 0, stream: null, view: /** @type {any} */ (null),
  };
  entry.view = makeCard(entry);
  entries.set(id, entry);
  const earlier = entries.get(before ?? "")?.view.card;
  if (earlier) earlier.after(entry.view.card);
  else byId("job-list").prepend(entry.view.card);
  render(entry);
  renderAll();
  startTicking();
}

/** @param {Entry} entry */
const ended = (entry) => entry.state === "done" || entry.state === "failed";
const running = () => [...entries.values()].filter((entry) => !ended(entry));

// ── hearing of them ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Give the streams to the jobs nearest their end; give none while the page is hidden. */
function assignStreams() {
  const order = running().sort((a, b) => Number(b.state === "running") - Number(a.state === "running"));
  const chosen = new Set(document.hidden ? [] : order.slice(0, MOST_STREAMS));
  for (const entry of entries.values()) {
    if (!chosen.has(entry)) stopStream(entry);
    else if (!entry.stream) startStream(entry);
  }
}

/** @param {Entry} entry */
function startStream(entry) {
  const stream = new AbortController();
  entry.stream = stream;
  /** @param {api.JobEvent} event */
  const onEvent = (event) => applyEvent(entry, event);
  api.follow(entry.id, entry.seq, onEvent, stream.signal).catch((error) => giveUp(entry, error));
}

/** @param {Entry} entry */
function stopStream(entry) {
  entry.stream?.abort();
  entry.stream = null;
}

/** Each second read the jobs not heard of for longest: those without a stream, and those that wait, for their places. */
async function startTicking() {
  if (ticking) return;
  ticking = true;
  while (running().length) {
    const due = running().filter((entry) => !entry.stream || entry.state === "waiting");
    due.sort((a, b) => a.readAt - b.readAt);
    const answered = await Promise.all(due.slice(0, READS_PER_TICK).map(read));
    if (answered.includes(false)) listeners.onSilence();
    await new Promise((resolve) => setTimeout(resolve, answered.includes(false) ? SILENT_TICK_MS : TICK_MS));
  }
  ticking = false;
}

/**
 * @param {Entry} entry
 * @returns {Promise<boolean>}  whether the server answered
 */
async function read(entry) {
  entry.readAt = Date.now();
  try {
    applyJob(entry, await api.job(entry.id));
  } catch (error) {
    if (!(error instanceof api.ApiError)) return false;
    if (error.status === 429) await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 5)));
    else if (error.status < 500) giveUp(entry, error);
  }
  return true;
}

/**
 * @param {Entry} entry
 * @param {api.Job} job
 */
function applyJob(entry, job) {
  if (ended(entry)) return;
  entry.position = job.queue_position;
  if (job.latest_event && job.latest_event.seq > entry.seq) applyEvent(entry, job.latest_event);
  else render(entry);
}

/**
 * @param {Entry} entry
 * @param {api.JobEvent} event
 */
function applyEvent(entry, event) {
  if (ended(entry) || event.seq <= entry.seq) return;
  entry.seq = event.seq;
  switch (event.event_type) {
    case "queued":
      break;
    case "stage":
      applyStage(entry, event);
      break;
    case "succeeded":
      finish(entry, "done", "Ready");
      if (event.artifacts[0]) showPicture(entry, event.artifacts[0]);
      break;
    case "failed":
      finish(entry, "failed", explainFailure(event));
  }
  render(entry);
}

/**
 * @param {Entry} entry
 * @param {api.JobEvent} event
 */
function applyStage(entry, event) {
  const before = entry.state;
  entry.state = event.stage === "retrying" ? "waiting" : "running";
  entry.status = explainStage(event);
  const { step = 0, steps = 1 } = event.extra;
  if (event.stage === "denoising") entry.progress = (0.9 * step) / steps;
  else if (event.stage === "decoding" || event.stage === "evaluating") entry.progress = 0.95;
  else entry.progress = 0;
  if (entry.state !== before) assignStreams();
}

/**
 * @param {Entry} entry
 * @param {State} state
 * @param {string} status
 */
function finish(entry, state, status) {
  entry.state = state;
  entry.status = status;
  stopStream(entry);
  announce(`${nameOf(entry.spec)}: ${status}`);
  renderAll();
  listeners.onEnded();
}

/**
 * End a card whose job the server will tell this key no more of.
 * @param {Entry} entry
 * @param {unknown} error
 */
function giveUp(entry, error) {
  if (ended(entry)) return;
  finish(entry, "failed", explain(error));
  render(entry);
}

// ── showing them ─────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * @param {Entry} entry
 * @returns {View}
 */
function makeCard(entry) {
  const image = el("img", { alt: "", hidden: true });
  const open = () => listeners.onOpen(entry.id);
  const frame = el("button", { type: "button", className: "frame", disabled: true, onclick: open }, image);
  frame.style.setProperty("--ratio", String(ratioOf(entry.spec.aspect_ratio)));
  frame.setAttribute("aria-label", `${nameOf(entry.spec)}, not ready yet`);
  const title = el("h3", {}, nameOf(entry.spec));
  const status = el("p", { className: "status" });
  const bar = el("progress", { max: 1, value: 0, "aria-label": `Progress of ${nameOf(entry.spec)}` });
  const cancel = el("button", { type: "button", className: "small", onclick: () => void stop(entry) }, "Cancel");
  const dismissing = { type: "button", className: "icon", title: "Take off this list", onclick: () => dismiss(entry) };
  const dismissButton = el("button", { ...dismissing, "aria-label": `Take ${nameOf(entry.spec)} off this list` }, "×");
  const foot = el("div", { className: "foot" }, status, cancel, dismissButton);
  const card = el("li", { className: "job" }, frame, title, bar, foot);
  return { card, frame, image, title, status, bar, cancel, dismiss: dismissButton };
}

/** @param {Entry} entry */
function render(entry) {
  const { view } = entry;
  view.card.dataset.state = entry.state;
  view.bar.value = entry.progress;
  view.bar.hidden = ended(entry);
  view.cancel.hidden = ended(entry);
  view.dismiss.hidden = !ended(entry);
  tell(view.status, entry.state === "waiting" && entry.position !== null ? placeText(entry.position) : entry.status);
}

/** @param {number} position */
function placeText(position) {
  return position === 0 ? "Next in the queue" : `Queued, ${position} ahead`;
}

/**
 * @param {Entry} entry
 * @param {api.Artifact} artifact
 */
function showPicture(entry, artifact) {
  const { frame, image, title } = entry.view;
  title.textContent = artifact.label;
  image.alt = artifact.label;
  image.hidden = false;
  frame.disabled = false;
  frame.setAttribute("aria-label", `Open ${artifact.label}`);
  frame.style.setProperty("--ratio", String(artifact.meta.width / artifact.meta.height));
  show(image, artifact.image_url ?? "", () => api.pictureLink(entry.id));
}

/** Show what depends on all jobs: the list's heading and button, the streams, the window's title. */
function renderAll() {
  assignStreams();
  const left = running().length;
  byId("jobs").hidden = entries.size === 0;
  byId("jobs-title").textContent = left ? `In progress: ${left}` : "Latest";
  byId("clear-jobs").hidden = left === entries.size;
  document.title = left ? `(${left}) Backlot` : "Backlot";
}

/** @param {Entry} entry */
function dismiss(entry) {
  stopStream(entry);
  entries.delete(entry.id);
  entry.view.card.remove();
  renderAll();
}

/** @param {Entry} entry */
async function stop(entry) {
  entry.view.cancel.disabled = true;
  tell(entry.view.status, "Cancelling …");
  try {
    applyJob(entry, await api.cancel(entry.id));
  } catch (error) {
    // A job that has just ended says so by its last event.
    if (error instanceof api.ApiError && error.code === "JOB_NOT_CANCELLABLE") return;
    entry.view.cancel.disabled = false;
    announce(explain(error));
    tell(entry.view.status, explain(error));
  }
}
