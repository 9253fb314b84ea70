/** The jobs that wait and run, oldest first, also those that this page did not make. */

import * as calls from "../api/calls.js";
import { ApiError } from "../api/http.js";
import { batch, computed, signal } from "../view.js";
import { nameOf, plural } from "../words.js";
import { addFailure, isCancelled, keepFailures, MOST_FAILURES } from "./failures.js";
import { afterStage, newStanding } from "./standing.js";
import { announce, tellError } from "./toasts.js";

/**
 * @typedef {import("../api/types.js").Job} Job
 * @typedef {import("../api/types.js").JobEvent} JobEvent
 * @typedef {import("../api/types.js").Request} Request
 * @typedef {import("./standing.js").Standing} Standing
 * @typedef {{id: string, request: Request, seq: number, standing: import("../vendor/signals.js").Signal<Standing>}} Task
 */

const DAY_MS = 86_400_000;
/** For how many waiting jobs the places in the queue are read again and again. */
const PLACES_READ = 50;
/** The most pictures that are shown before they are finished: as many as one order may have. */
const MOST_SHOWN = 8;

/** @type {import("../vendor/signals.js").Signal<Task[]>} */
export const tasks = signal([]);
/** The ids of jobs whose end was heard of. @type {Set<string>} */
const ended = new Set();
/** How many have not ended. */
export const left = computed(() => tasks.value.filter((task) => task.standing.value.state !== "done").length);

/** The pictures to show before they are finished: those that wait, then those that are being made, the newest of each first. */
export const unfinished = computed(() => {
  /** @param {Task} task */
  const waits = (task) => Number(task.standing.value.state === "waiting");
  return [...tasks.value]
    .sort((a, b) => waits(a) - waits(b))
    .flatMap((task) => Array.from({ length: task.request.n ?? 1 }, (_, index) => ({ id: `${task.id} ${index}`, task, index })))
    .slice(0, MOST_SHOWN)
    .reverse();
});

/** Read from the server which jobs are under way and which failed. */
export async function load() {
  const since = new Date(Date.now() - DAY_MS).toISOString();
  const [running, waiting, ended] = await Promise.all([
    calls.allJobs("IN_PROGRESS"),
    calls.allJobs("NOT_STARTED"),
    calls.jobs({ status: "FAILURE", created_after: since, limit: MOST_FAILURES }),
  ]);
  // Only all events of a job together say how far each of its pictures has come.
  const pasts = await Promise.all(running.map(({ public_id, request: { n = 1 } }) => (n > 1 ? calls.events(public_id) : [])));
  batch(() => {
    tasks.value = inOrder([...running.map((job, index) => taskOf(job, pasts[index])), ...waiting.map((job) => taskOf(job))]);
    keepFailures(ended);
  });
}

export function clear() {
  tasks.value = [];
  ended.clear();
  keepFailures([]);
}

/**
 * Put jobs in the order in which they were made: their ids are ULIDs, so they sort by time.
 * @param {Task[]} list
 */
const inOrder = (list) => list.sort((a, b) => (a.id < b.id ? -1 : 1));

/**
 * @param {Job} job
 * @param {readonly JobEvent[]} [past]  its events so far, if more than the latest matters
 */
function taskOf(job, past = []) {
  const task = newTask(job.public_id, job.request);
  past.forEach((event) => apply(task, event));
  update(task, job);
  return task;
}

/**
 * @param {string} id
 * @param {Request} request
 * @returns {Task}
 */
function newTask(id, request) {
  return { id, request, seq: 0, standing: signal(newStanding(request)) };
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
    // A cancelled job is not told of: the user who cancelled it knows, and if it was followed here, its event has told of it.
    if (job.latest_event && !isCancelled(job.latest_event)) addFailure(job.public_id, job.request, job.latest_event);
    return;
  }
  // The job may have ended while this answer was on its way.
  if (job.status !== "SUCCESS" && !ended.has(job.public_id)) tasks.value = inOrder([...tasks.value, taskOf(job)]);
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
  if (event.event_type === "succeeded" || event.event_type === "failed") ended.add(id);
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
  if (event.event_type === "stage") task.standing.value = afterStage(task.standing.value, event);
  if (event.event_type === "succeeded") {
    set(task, { state: "done", told: "Ready", progress: 1, position: null });
    const count = task.request.n ?? 1;
    announce(`${nameOf(task.request)}: ${count > 1 ? `${plural(count, "picture")} ready` : "ready"}`);
  }
  if (event.event_type === "failed") {
    tasks.value = tasks.value.filter((other) => other !== task);
    addFailure(task.id, task.request, event);
  }
}

/** @param {Task} task */
const isDone = (task) => task.standing.value.state === "done";

export const isAnyDone = () => tasks.value.some(isDone);

/** Drop the jobs whose pictures are in the catalogue by now. */
export function dropDone() {
  tasks.value = tasks.value.filter((task) => !isDone(task));
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
    tellError(error);
  }
}

/** Read the places of waiting jobs in the queue. Throws ApiError and Unreachable. */
export async function readPlaces() {
  const waiting = tasks.value.filter((task) => task.standing.value.state === "waiting").slice(0, PLACES_READ);
  if (waiting.length === 0) return;
  const found = await calls.jobs({ ids: waiting.map((task) => task.id) });
  batch(() => found.forEach(take));
}
