/** The server's API as functions. They throw ApiError for an error that the server tells, and Unreachable if nobody answers. */

import { sameOrigin } from "./dom.js";

/**
 * What the server sends, as its OpenAPI document describes it (openapi.d.ts is made from that), with the fields that the
 * document leaves open.
 *
 * @typedef {import("./openapi.d.ts").ErrorDetail} Detail
 * @typedef {import("./openapi.d.ts").BackgroundSpec} Spec
 * @typedef {import("./openapi.d.ts").BackgroundEntry} Background
 * @typedef {import("./openapi.d.ts").ModelView} Model
 * @typedef {import("./openapi.d.ts").OperationPrice} Price
 * @typedef {import("./openapi.d.ts").Readiness} Readiness
 * @typedef {import("./openapi.d.ts").Artifact & {meta: Meta}} Artifact
 * @typedef {import("./openapi.d.ts").JobEvent & {artifacts: Artifact[], extra: Extra}} JobEvent
 * @typedef {import("./openapi.d.ts").JobView & {request: Spec, result: Artifact[], latest_event: JobEvent | null}} Job
 *
 * @typedef {{model: string, width: number, height: number, seed: number, steps: number, guidance: number, prompt: string,
 *   timings: Record<string, number>, technical_failure?: string, understood?: {scene: string | null, mood: string | null},
 *   eval?: Evaluation}} Meta
 * @typedef {{dominant: {color: string, share: number}[], sharpness: number, contrast: number, clipped_black: number,
 *   clipped_white: number, palette: {requested: string, nearest: string, delta_e: number, share: number}[]}} Evaluation
 * @typedef {{step?: number, steps?: number, model?: string, reason?: string, refunded?: number}} Extra
 */

export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {any} body
   * @param {string | null} retryAfter
   */
  constructor(status, body, retryAfter) {
    super(body?.error?.message ?? `The server answered ${status}`);
    this.status = status;
    this.code = body?.error?.code ?? "";
    /** @type {Detail[]} */
    this.detail = body?.detail ?? [];
    /** Seconds; 0 if the server names none. */
    this.retryAfter = Number(retryAfter) || 0;
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The server does not answer. Is it running, and is this device on its network?");
  }
}

let key = "";

/** @param {string} value  the key for every call from here on; empty for none */
export function useKey(value) {
  key = value;
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}  whatever its status
 */
async function send(path, init = {}) {
  const headers = { ...init.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    // Relative to the page: a proxy may serve all of this under a path of its own.
    return await fetch(new URL(path.slice(1), document.baseURI), { cache: "no-store", ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable();
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<Response>}  with a 2xx status
 */
async function sendWell(path, init) {
  const response = await send(path, init);
  if (response.ok) return response;
  throw new ApiError(response.status, await response.json().catch(() => null), response.headers.get("Retry-After"));
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 */
const call = async (path, init) => (await sendWell(path, init)).json();

/** @returns {Promise<Readiness>} */
export const readiness = async () => (await send("/readyz")).json();

/** @returns {Promise<Model[]>} */
export const models = async () => (await call("/v1/models")).models;

/** @returns {Promise<Price>} */
export async function price() {
  /** @type {Price[]} */
  const operations = (await call("/v1/operations")).operations;
  const found = operations.find((operation) => operation.name === "background-generator");
  if (!found) throw new Error("This server does not make backgrounds");
  return found;
}

/** @returns {Promise<number>} */
export const balance = async () => (await call("/v1/credits")).balance;

/**
 * Return backgrounds, newest first.
 * @param {number} limit
 * @param {number} offset
 * @returns {Promise<Background[]>}
 */
export const backgrounds = (limit, offset) => call(`/v1/catalog/backgrounds?limit=${limit}&offset=${offset}`);

/**
 * @param {string} id
 * @returns {Promise<Background>}
 */
export const background = (id) => call(`/v1/catalog/backgrounds/${encodeURIComponent(id)}`);

/**
 * Return the ids of jobs with this status, newest first.
 * @param {"NOT_STARTED" | "IN_PROGRESS"} status
 * @returns {Promise<string[]>}
 */
export async function jobsWith(status) {
  /** @type {import("./openapi.d.ts").JobPage} */
  const page = await call(`/v1/jobs?job_type=BACKGROUND_GENERATOR&status=${status}&limit=12`);
  return page.jobs.map((found) => found.public_id);
}

/**
 * @param {string} id
 * @returns {Promise<Job>}
 */
export const job = (id) => call(`/v1/jobs/${encodeURIComponent(id)}`);

/**
 * @param {string} id
 * @returns {Promise<Job>}
 */
export const cancel = (id) => call(`/v1/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });

/**
 * Return the picture of a job that has ended well. The link of one that was removed leads nowhere.
 * @param {{public_id: string, result: Artifact[]}} ended
 * @returns {Artifact & {image_url: string}}
 */
export function pictureOf({ public_id, result }) {
  const picture = result[0];
  if (!picture) throw new Error(`The job ${public_id} has no picture`);
  return { ...picture, image_url: picture.image_url ?? "" };
}

/**
 * Return a fresh link to a job's picture.
 * @param {string} id
 */
export async function pictureLink(id) {
  return pictureOf(await job(id)).image_url;
}

/**
 * Return a job's picture: the PNG that is on the server.
 * @param {string} id
 */
export async function picture(id) {
  return (await sendWell(sameOrigin(await pictureLink(id)))).blob();
}

/**
 * Ask for a background. If nobody answers, the request is sent again; because of its idempotency key it is paid for once.
 * @param {Spec} spec
 * @returns {Promise<{job_id: string, credits_cost: number}>}
 */
export async function generate(spec) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": randomId() };
  const init = { method: "POST", headers, body: JSON.stringify(spec) };
  for (const pause of [1000, 3000]) {
    try {
      return await call("/v1/background-generator", init);
    } catch (error) {
      if (!(error instanceof Unreachable)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return call("/v1/background-generator", init);
}

/** Return a random id. `crypto.randomUUID` is missing if the page came over plain HTTP from another machine. */
function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// ── following a job ──────────────────────────────────────────────────────────────────────────────────────────────────

/** More than twice the server's heartbeat: a stream that is quiet for so long is broken, or a proxy holds it back. */
const SILENCE_MS = 35_000;

let streamsWork = true;

/**
 * Hand over a job's events after `since` until it has ended. A broken connection is made again.
 * @param {string} id
 * @param {number} since
 * @param {(event: JobEvent) => void} onEvent
 * @param {AbortSignal} signal
 */
export async function follow(id, since, onEvent, signal) {
  let pause = 500;
  while (!signal.aborted) {
    try {
      for await (const event of streamsWork ? stream(id, since, signal) : longPoll(id, since, signal)) {
        if (signal.aborted) return;
        since = event.seq;
        pause = 500;
        onEvent(event);
        if (event.event_type === "succeeded" || event.event_type === "failed") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) throw error;
      if (error instanceof ApiError) pause = Math.max(pause, error.retryAfter * 1000);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 15_000);
  }
}

/**
 * Yield a job's events as the server sends them: by fetch, since EventSource cannot send the key.
 * @param {string} id
 * @param {number} since
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<JobEvent>}
 */
async function* stream(id, since, signal) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  signal.addEventListener("abort", stop);
  let timer = setTimeout(stop, SILENCE_MS);
  try {
    const response = await sendWell(`/v1/jobs/${encodeURIComponent(id)}/events`, {
      headers: { Accept: "text/event-stream", "Last-Event-ID": String(since) },
      signal: quiet.signal,
    });
    for await (const lines of chunksOfLines(response)) {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
      for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
    }
  } catch (error) {
    if (quiet.signal.aborted && !signal.aborted) streamsWork = false;
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    quiet.abort();
  }
}

/**
 * Yield the lines of a response as they come, some at a time. The server puts the JSON of an event on one `data:` line.
 * @param {Response} response
 * @returns {AsyncGenerator<string[]>}
 */
async function* chunksOfLines(response) {
  const reader = /** @type {ReadableStream} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
    rest = lines.pop() ?? "";
    yield lines;
  }
}

/**
 * @param {string} id
 * @param {number} since
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<JobEvent>}
 */
async function* longPoll(id, since, signal) {
  yield* (await call(`/v1/jobs/${encodeURIComponent(id)}/events?since=${since}&wait=25`, { signal })).events;
}
