/** The jobs that wait and run, oldest first, wherever they come from. */

import * as calls from "../api/calls.js";
import { ApiError } from "../api/http.js";
import { batch, computed, signal } from "../view.js";
import { explain, explainStage, nameOf } from "../words.js";
import { addFailure, isCancelled, keepFailures, MOST_FAILURES } from "./failures.js";
import { announce, tell } from "./toasts.js";

/**
 * @typedef {import("../api/types.js").Job} Job
 * @typedef {import("../api/types.js").JobEvent} JobEvent
 * @typedef {import("../api/types.js").Request} Request
 * @typedef {"waiting" | "running" | "cancelling" | "done"} State
 * @typedef {{state: State, told: string, progress: number, position: number | null, seconds: number | null,
 *   preview: string}} Standing
 *   `told` says what it does; `preview` is a link to a picture of how far it has come, if there is one
 * @typedef {{id: string, request: Request, seq: number, standing: import("../vendor/signals.js").Signal<Standing>}} Task
 */

const DAY_MS = 86_400_000;
/** Of this many waiting jobs the places are read again and again. */
const PLACES_READ = 50;

/** @type {import("../vendor/signals.js").Signal<Task[]>} */
export const tasks = signal([]);
/** How many have not ended. */
export const left = computed(() => tasks.value.filter((task) => task.standing.value.state !== "done").length);

/** Read what is under way and what failed, from the server alone. */
export async function load() {
  const since = new Date(Date.now() - DAY_MS).toISOString();
  const [running, waiting, ended] = await Promise.all([
    calls.jobs({ status: "IN_PROGRESS", limit: calls.MOST_JOBS }),
    calls.jobs({ status: "NOT_STARTED", limit: calls.MOST_JOBS }),
    calls.jobs({ status: "FAILURE", created_after: since, limit: MOST_FAILURES }),
  ]);
  batch(() => {
    tasks.value = inOrder([...running, ...waiting].map(taskOf));
    keepFailures(ended);
  });
}

export function clear() {
  tasks.value = [];
  keepFailures([]);
}

/**
 * Put jobs in the order in which they were made: their ids are ULIDs, so they sort by time.
 * @param {Task[]} list
 */
const inOrder = (list) => list.sort((a, b) => (a.id < b.id ? -1 : 1));

/** @param {Job} job */
function taskOf(job) {
  const task = newTask(job.public_id, job.request);
  update(task, job);
  return task;
}

/**
 * @param {string} id
 * @param {Request} request
 * @returns {Task}
 */
function newTask(id, request) {
  /** @type {Standing} */
  const standing = { state: "waiting", told: "", progress: 0, position: null, seconds: null, preview: "" };
  return { id, request, seq: 0, standing: signal(standing) };
}

/**
 * Follow a job that was just made.
 * @param {string} id
 * @param {Request} request
 */
export function addJob(id, request) {
  if (!tasks.value.some((task) => task.id === id)) tasks.value = inOrder([...tasks.value, newTask(id, request)]);
}

/** @param {string} id */
const taskWith = (id) => tasks.value.find((task) => task.id === id);

/**
 * Take up what the server tells of a job now, whether it is followed or not.
 * @param {Job} job
 */
export function take(job) {
  const task = taskWith(job.public_id);
  if (task) return update(task, job);
  if (job.status === "FAILURE") {
    // Whoever cancelled a job that is not followed here knows of it; one that was followed is told of by its event.
    if (job.latest_event && !isCancelled(job.latest_event)) addFailure(job.public_id, job.request, job.latest_event);
    return;
  }
  if (job.status !== "SUCCESS") tasks.value = inOrder([...tasks.value, taskOf(job)]);
}

/**
 * @param {Task} task
 * @param {Job} job
 */
function update(task, job) {
  if (job.latest_event) apply(task, job.latest_event);
  const { state } = task.standing.value;
  set(task, {
    position: job.queue_position,
    seconds: job.estimated_seconds,
    ...(job.status === "IN_PROGRESS" && state === "waiting" && job.queue_position === null && { state: "running" }),
    progress: Math.max(job.progress, task.standing.value.progress),
  });
}

/**
 * @param {Task} task
 * @param {Partial<Standing>} part
 */
function set(task, part) {
  task.standing.value = { ...task.standing.value, ...part };
}

/**
 * Take up an event of a job. Return false if no such job is followed.
 * @param {string} id
 * @param {JobEvent} event
 */
export function hear(id, event) {
  const task = taskWith(id);
  if (task) apply(task, event);
  return task !== undefined;
}

/**
 * @param {Task} task
 * @param {JobEvent} event
 */
function apply(task, event) {
  if (event.seq <= task.seq || task.standing.value.state === "done") return;
  task.seq = event.seq;
  if (event.event_type === "stage") applyStage(task, event);
  if (event.event_type === "succeeded") {
    set(task, { state: "done", told: "Ready", progress: 1, position: null });
    announce(`${nameOf(task.request)}: ready`);
  }
  if (event.event_type === "failed") {
    tasks.value = tasks.value.filter((other) => other !== task);
    addFailure(task.id, task.request, event);
  }
}

/**
 * @param {Task} task
 * @param {JobEvent} event
 */
function applyStage(task, event) {
  const { step = 0, steps = 1, image = 0 } = event.extra;
  const preview = event.artifacts.find((artifact) => artifact.role === "intermediate")?.image_url;
  const images = task.request.n ?? 1;
  const share = event.stage === "denoising" ? (0.95 * step) / steps : event.stage === "retrying" ? 0 : 0.97;
  const isLoading = event.stage === "loading";
  const { state, progress } = task.standing.value;
  set(task, {
    state: state === "cancelling" ? state : event.stage === "retrying" || isLoading ? "waiting" : "running",
    told: explainStage(event, images > 1 ? image + 1 : 0),
    progress: isLoading ? 0 : images === 1 ? share : Math.max(progress, share / images),
    ...(!isLoading && { position: null }),
    ...(preview && { preview }),
  });
}

/** Take off the jobs whose pictures are in the catalogue by now. */
export function dropDone() {
  tasks.value = tasks.value.filter((task) => task.standing.value.state !== "done");
}

/** @param {Task} task */
export async function cancel(task) {
  const before = task.standing.value;
  set(task, { state: "cancelling", told: "Cancelling …" });
  try {
    take(await calls.cancel(task.id));
  } catch (error) {
    // A job that has just ended says so by its last event.
    if (error instanceof ApiError && error.code === "JOB_NOT_CANCELLABLE") return;
    task.standing.value = before;
    tell(explain(error), { wrong: true });
  }
}

/** Read the places in the queue of those that wait. Throws ApiError and Unreachable. */
export async function readPlaces() {
  const waiting = tasks.value.filter((task) => task.standing.value.state === "waiting").slice(0, PLACES_READ);
  if (waiting.length === 0) return;
  const found = await calls.jobs({ ids: waiting.map((task) => task.id) });
  batch(() => found.forEach(take));
}
