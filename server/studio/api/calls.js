/** The server's API as functions. They throw ApiError for an error of the server, and Unreachable if it does not answer. */

import { ApiError, GivenUp, ask, isUnknown, jsonOf, keyInUse, ofThisHost, read, send, withQuery, write, writeFor } from "./http.js";

/**
 * @typedef {import("./types.js").Entry} Entry
 * @typedef {import("./types.js").Job} Job
 * @typedef {import("./types.js").Kind} Kind
 * @typedef {import("./types.js").Request} Request
 * @typedef {"background-generator" | "image-generation"} Workflow
 *
 * @typedef {{q?: string, scene_type?: string, mood?: string, color?: string, model?: string, favourite?: boolean | null,
 *   status?: "active" | "archived", created_after?: string | null, created_before?: string | null}} EntryQuery
 */

/** Milliseconds before each further try of a submission whose outcome is not known. */
const TRIES_AFTER_MS = [1000, 3000];
/** The most jobs that one request reads. */
export const MOST_JOBS = 200;

const encode = encodeURIComponent;

// ── the server and the client ────────────────────────────────────────────────────────────────────────────────────────

/** @returns {Promise<import("./types.js").Readiness>} */
export async function readiness() {
  const response = await send("/readyz");
  // With 503 the server says why it is not ready. Any other answer is an error of the server or of a proxy.
  const told = await jsonOf(response);
  if (typeof told?.ready !== "boolean") throw new ApiError(response.status, told, response.headers.get("Retry-After"));
  return told;
}

/** @returns {Promise<import("./types.js").Model[]>} */
export const models = async () => (await read("/v1/models")).models;

/** @returns {Promise<import("./types.js").Operation[]>} */
export const operations = async () => (await read("/v1/operations")).operations;

/** @returns {Promise<import("./types.js").Totals>} */
export const credits = () => read("/v1/credits");

/**
 * @param {string} since  a time
 * @returns {Promise<import("./types.js").Usage>}
 */
export const usage = (since) => read(withQuery("/v1/usage", { since }));

/**
 * @param {number} limit
 * @returns {Promise<import("./types.js").TransactionPage>}
 */
export const transactions = (limit) => read(withQuery("/v1/transactions", { limit }));

// ── generating ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Ask what a request would cost, when its picture would be there and how it is understood. Nothing is made or taken.
 * @param {Workflow} workflow
 * @param {Request} spec
 * @returns {Promise<import("./types.js").Estimate>}
 */
export const estimate = (workflow, spec) => write("POST", `/v1/${workflow}?dry_run=true`, spec);

/**
 * Ask for pictures.
 * @param {Workflow} workflow
 * @param {Request} spec
 * @param {string} idempotencyKey
 * @param {number} most  credits that it may cost
 */
export const generate = (workflow, spec, idempotencyKey, most) => order(`/v1/${workflow}`, spec, idempotencyKey, most);

/**
 * Ask what it would cost to try a failed job again. Nothing is made or taken.
 * @param {string} id
 * @returns {Promise<import("./types.js").Estimate>}
 */
export const estimateRetry = (id) => write("POST", `/v1/jobs/${encode(id)}/retry?dry_run=true`);

/**
 * Ask for a new job of a failed one's spec.
 * @param {string} id
 * @param {string} idempotencyKey
 * @param {number} most  credits that it may cost
 */
export const retry = (id, idempotencyKey, most) => order(`/v1/jobs/${encode(id)}/retry`, undefined, idempotencyKey, most);

/**
 * Send an order, and send it again if its outcome is not known. Because of its idempotency key it is paid for once.
 * @param {string} path
 * @param {Request | undefined} spec
 * @param {string} idempotencyKey
 * @param {number} most  credits that it may cost
 * @returns {Promise<import("./types.js").Accepted>}
 */
async function order(path, spec, idempotencyKey, most) {
  const headers = { "Idempotency-Key": idempotencyKey, "Max-Credits": String(most) };
  const mine = keyInUse();
  for (const pause of TRIES_AFTER_MS) {
    try {
      return await write("POST", path, spec, headers);
    } catch (error) {
      if (!isUnknown(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (keyInUse() !== mine) throw new GivenUp();
    }
  }
  return write("POST", path, spec, headers);
}

/** Return a random id. `crypto.randomUUID` is missing if the page came over plain HTTP from another machine. */
export function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Return whole jobs, newest first.
 * @param {{status?: string, ids?: readonly string[], created_after?: string, limit?: number, offset?: number}} only
 * @returns {Promise<Job[]>}
 */
export const jobs = async (only) => (await read(withQuery("/v1/jobs", { expand: "result", ...only }))).jobs;

/**
 * Return all whole jobs of a status, newest first, though more may be under way than one request reads.
 * @param {string} status
 * @returns {Promise<Job[]>}
 */
export async function allJobs(status) {
  /** @type {Map<string, Job>} A job that came in between moves others on to the next page. */
  const found = new Map();
  for (let offset = 0; ; offset += MOST_JOBS) {
    const page = await jobs({ status, limit: MOST_JOBS, offset });
    page.forEach((job) => found.set(job.public_id, job));
    if (page.length < MOST_JOBS) return [...found.values()];
  }
}

/**
 * @param {string} id
 * @returns {Promise<Job>}
 */
export const job = (id) => read(`/v1/jobs/${encode(id)}`);

/**
 * Return all events of a job so far.
 * @param {string} id
 * @returns {Promise<import("./types.js").JobEvent[]>}
 */
export const events = async (id) => (await read(`/v1/jobs/${encode(id)}/events`)).events;

/**
 * @param {string} id
 * @returns {Promise<Job>}
 */
export const cancel = (id) => write("POST", `/v1/jobs/${encode(id)}/cancel`);

// ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Return entries, newest first, and how many there are of this kind for this query.
 * @param {Kind} kind
 * @param {EntryQuery} query
 * @param {number} limit
 * @param {number} offset
 * @returns {Promise<{entries: Entry[], total: number}>}
 */
export async function entries(kind, query, limit, offset) {
  const response = await ask(withQuery(`/v1/catalog/${kind}`, { ...query, limit, offset }));
  const found = await jsonOf(response);
  return { entries: found.map(ofKind(kind)), total: Number(response.headers.get("X-Total-Count")) };
}

/**
 * @param {Kind} kind
 * @param {string} id
 * @returns {Promise<Entry>}
 */
export const entry = async (kind, id) => ofKind(kind)(await read(`/v1/catalog/${kind}/${encode(id)}`));

/**
 * @param {Entry} entry
 * @param {{status?: "active" | "archived", display_name?: string, favourite?: boolean}} change
 * @returns {Promise<Entry>}
 */
export const changeEntry = async ({ kind, public_id }, change) =>
  ofKind(kind)(await write("PATCH", `/v1/catalog/${kind}/${encode(public_id)}`, change));

/**
 * Delete an entry and its file, even if the page is being closed or its key given up.
 * @param {Entry} entry
 */
export const deleteEntry = ({ kind, public_id }) =>
  ask(`/v1/catalog/${kind}/${encode(public_id)}`, { method: "DELETE", keepalive: true });

/**
 * Return the pictures of these entries as one zip file.
 * @param {readonly string[]} public_ids
 */
export const archive = async (public_ids) =>
  (await writeFor("POST", "/v1/catalog/archive.zip", { public_ids })).blob();

/**
 * Find out whether a link works: throws ApiError and Unreachable if it does not.
 * @param {string} url
 */
export async function look(url) {
  await (await ask(ofThisHost(url))).body?.cancel();
}

/**
 * Return a copy of an entry's picture to keep: a PNG that names its job.
 * @param {Entry} entry
 */
export async function picture({ kind, public_id }) {
  return (await ask(ofThisHost(`${(await entry(kind, public_id)).image_url}&save=true`))).blob();
}

/**
 * @param {Kind} kind
 * @returns {(told: Entry) => Entry}  adds the kind to an entry as the server tells it
 */
const ofKind = (kind) => (told) => ({ ...told, kind });
