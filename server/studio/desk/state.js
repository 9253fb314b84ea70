/** What the desk shows: read again and again while it is looked at, and after everything that is done here. */

import { ApiError, ask, read, withQuery, write } from "../api/http.js";
import { batch, signal } from "../view.js";
import { explain, leave, phase } from "./session.js";

/**
 * @template T
 * @typedef {import("../vendor/signals.js").Signal<T>} Signal
 */
/** @typedef {import("../openapi.js").QueuePage} QueuePage */

/** Milliseconds between reads of what moves, and of what changes now and then. */
const QUICK_MS = 2_000;
const SLOW_MS = 15_000;
const DAYS = 30;

/** @type {Signal<import("../openapi.js").DeviceView[]>} */
export const devices = signal([]);
/** @type {Signal<QueuePage | null>} */
export const queue = signal(null);
/** @type {Signal<import("../openapi.js").ModelStanding[]>} */
export const models = signal([]);
/** @type {Signal<import("../openapi.js").ClientReport[]>} */
export const clients = signal([]);
/** @type {Signal<import("../openapi.js").KeyReport[]>} */
export const keys = signal([]);
/** @type {Signal<import("../openapi.js").UsageRow[]>} */
export const usage = signal([]);
/** @type {Signal<import("../openapi.js").Failure[]>} */
export const failures = signal([]);
/** @type {Signal<import("../openapi.js").Disk | null>} */
export const disk = signal(null);
/** What went wrong with the last thing that was done, or with reading; empty if nothing did. */
export const trouble = signal("");

async function readQuick() {
  const [itsDevices, itsQueue, itsModels] = await Promise.all([
    read("/v1/admin/devices"),
    read(withQuery("/v1/admin/queue", { limit: 100 })),
    read("/v1/admin/models"),
  ]);
  batch(() => {
    devices.value = itsDevices.devices;
    queue.value = itsQueue;
    models.value = itsModels.models;
  });
}

async function readSlow() {
  const since = new Date(Date.now() - (DAYS - 1) * 86_400_000).toISOString().slice(0, 10);
  const [itsClients, itsKeys, itsUsage, itsFailures, itsDisk] = await Promise.all([
    read("/v1/admin/clients"),
    read("/v1/admin/keys"),
    read(withQuery("/v1/admin/usage", { by: "client,day", since: `${since}T00:00:00Z` })),
    read("/v1/admin/failures"),
    read("/v1/admin/disk"),
  ]);
  batch(() => {
    clients.value = itsClients.clients;
    keys.value = itsKeys.keys;
    usage.value = itsUsage.rows;
    failures.value = itsFailures.failures;
    disk.value = itsDisk;
  });
}

/** The days that usage is shown of, oldest first. */
export const days = () =>
  Array.from({ length: DAYS }, (_, index) =>
    new Date(Date.now() - (DAYS - 1 - index) * 86_400_000).toISOString().slice(0, 10),
  );

/**
 * Run a reader now and again until the page is left; what goes wrong is told and tried again.
 * @param {() => Promise<void>} reader
 * @param {number} pause
 */
function keepReading(reader, pause) {
  let timer = 0;
  let isOver = false;
  const turn = async () => {
    if (!document.hidden) await meet(reader);
    if (!isOver) timer = setTimeout(turn, pause);
  };
  void turn();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** Read all of it for as long as the desk is open; return how to stop. */
export function follow() {
  const stops = [keepReading(readQuick, QUICK_MS), keepReading(readSlow, SLOW_MS)];
  return () => stops.forEach((stop) => stop());
}

let isTold = false;

/** @param {() => Promise<void>} reader */
async function meet(reader) {
  try {
    await reader();
    if (isTold) trouble.value = "";
    isTold = false;
  } catch (error) {
    if (phase.value !== "open") return;
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) leave(explain(error));
    isTold = true;
    trouble.value = explain(error);
  }
}

/**
 * Do something, and read what came of it. Return the answer; undefined if it was refused, which is told.
 * @param {string} path  below /v1/admin/
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export const order = (path, body) => carryOut(() => write("POST", `/v1/admin/${path}`, body));

/** @param {string} hint  the first characters of the key */
export const revoke = (hint) => carryOut(() => ask(`/v1/admin/keys/${encodeURIComponent(hint)}`, { method: "DELETE" }));

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
async function carryOut(work) {
  trouble.value = "";
  try {
    const answer = await work();
    await Promise.all([readQuick(), readSlow()]);
    return answer;
  } catch (error) {
    isTold = false;
    trouble.value = explain(error);
    return undefined;
  }
}
