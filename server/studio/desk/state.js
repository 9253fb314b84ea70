/** The data of the desk, read again and again while the page is visible, and after each change by the operator. */

import { ApiError, GivenUp, ask, isUnknown, read, withQuery, write } from "../api/http.js";
import { batch, computed, signal } from "../view.js";
import { sentence } from "../words.js";
import { explain, phase, refuse } from "./session.js";

/**
 * @template T
 * @typedef {import("../vendor/signals.js").Signal<T>} Signal
 */
/**
 * @typedef {import("../openapi.js").QueuePage} QueuePage
 * @typedef {{read: () => Promise<void>, everyMs: number, problem: Signal<string>}} Reader
 *   `problem` says why it could not read; it is empty if it could
 */

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

/** The days whose usage is shown, oldest first. */
export const days = () =>
  Array.from({ length: DAYS }, (_, index) =>
    new Date(Date.now() - (DAYS - 1 - index) * 86_400_000).toISOString().slice(0, 10),
  );

/** Reads what changes all the time. @type {Reader} */
const quick = { read: readQuick, everyMs: 2_000, problem: signal("") };
/** Reads what changes now and then. @type {Reader} */
const slow = { read: readSlow, everyMs: 15_000, problem: signal("") };
/** Why the operator's last change was refused; empty if it was not. */
const refusal = signal("");
/** The present problem; empty if there is none. */
export const trouble = computed(() => refusal.value || quick.problem.value || slow.problem.value);

/**
 * Run a reader again and again, sooner after it failed; return how to stop.
 * @param {Reader} reader
 */
function keepReading(reader) {
  let timer = 0;
  let isOver = false;
  const turn = async () => {
    if (!document.hidden) await run(reader);
    if (!isOver) timer = setTimeout(turn, reader.problem.value ? quick.everyMs : reader.everyMs);
  };
  void turn();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}

/** Read all of it for as long as the desk is open; return how to stop. */
export function follow() {
  refusal.value = "";
  const stops = [quick, slow].map(keepReading);
  return () => stops.forEach((stop) => stop());
}

/** @param {Reader} reader */
async function run({ read, problem }) {
  try {
    await read();
    problem.value = "";
  } catch (error) {
    if (error instanceof GivenUp || phase.value !== "open") return;
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) refuse(error);
    else problem.value = explain(error);
  }
}

/** The paths and keys of the changes under way: a double click makes one change. */
const underWay = new Set();

/**
 * Send a change by the operator. Return the answer; undefined if it was refused, which `trouble` tells, or if the one before it
 * is under way. What the desk shows is read meanwhile.
 * @param {string} path  below /v1/admin/
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export const change = (path, body) => carryOut(path, () => write("POST", `/v1/admin/${path}`, body));

/** @param {string} hint  the first characters of the key */
export const revoke = (hint) =>
  carryOut(hint, () => ask(`/v1/admin/keys/${encodeURIComponent(hint)}`, { method: "DELETE" }));

/**
 * @template T
 * @param {string} target
 * @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
async function carryOut(target, work) {
  if (underWay.has(target)) return undefined;
  underWay.add(target);
  refusal.value = "";
  try {
    return await work();
  } catch (error) {
    const told = explain(error);
    refusal.value = isUnknown(error) ? `${sentence(told)} Whether this was done is not known: look before you do it again.` : told;
    return undefined;
  } finally {
    underWay.delete(target);
    // The answer does not wait for these reads: it may have a new key, which is to be shown even if they fail.
    void run(quick);
    void run(slow);
  }
}
