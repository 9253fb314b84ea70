/** Requests to this server: the key, its errors, and the pause that a rate limit asks for. */

import { signal } from "../view.js";

/** @typedef {import("../openapi.js").ErrorDetail} Detail */

/** The server's error, as its envelope tells it. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {any} body
   * @param {string | null} retryAfter
   */
  constructor(status, body, retryAfter) {
    super(body?.error?.message ?? `The server answered ${status}`);
    this.status = status;
    /** @type {string} */
    this.code = body?.error?.code ?? "";
    /** @type {Detail[]} */
    this.detail = body?.detail ?? [];
    /** Seconds; 0 if the server names none. */
    this.retryAfter = Number(retryAfter) || 0;
  }
}

/** The server does not answer, or its answer broke off. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer. Is it running, and is this device on its network?");
  }
}

/** The key was given up before the answer came, so the answer must not be shown under another key. */
export class GivenUp extends Error {
  constructor() {
    super("The key was given up before the answer came.");
  }
}

/**
 * Return whether it is not known what became of a request: nobody answered it, or a proxy or a failing server did. The
 * server's own 503 says that it was not taken.
 * @param {unknown} error
 */
export const isUnknown = (error) =>
  error instanceof Unreachable ||
  (error instanceof ApiError && error.status >= 500 && !(error.status === 503 && error.code));

/** Until when (milliseconds since 1970) requests wait because the key's rate limit is used up; 0 if they do not. */
export const pausedUntil = signal(0);

/** How many requests were not answered. */
export const unanswered = signal(0);

const DEFAULT_PAUSE_S = 5;

let key = "";

/** @param {string} value  the key for every request from here on; empty for none */
export function useKey(value) {
  key = value;
}

/** Return the key that a request would be sent with now. */
export const keyInUse = () => key;

/**
 * Send a request and return the answer, whatever its status. Throws Unreachable.
 * @param {string} address  a whole URL, or a path of the API; that is taken relative to the page, since a proxy may serve the
 *   page and the API under a path of its own
 * @param {RequestInit} [init]
 * @param {string} [withKey]
 */
export async function send(address, init = {}, withKey = key) {
  const headers = { ...init.headers, ...(withKey && { Authorization: `Bearer ${withKey}` }) };
  const url = address.startsWith("/") ? new URL(address.slice(1), document.baseURI) : address;
  try {
    return await fetch(url, { cache: "no-store", ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    unanswered.value += 1;
    throw new Unreachable();
  }
}

/**
 * Send a request and return its answer, a good one. The server did not look at a request beyond the rate limit, so it is sent
 * again when the server says. Throws ApiError, Unreachable and GivenUp.
 * @param {string} address
 * @param {RequestInit} [init]  with `keepalive` the answer counts even if the key is given up meanwhile
 */
export async function ask(address, init = {}) {
  const mine = key;
  for (;;) {
    const response = await send(address, init, mine);
    const isRefused = response.status === 429;
    const retryAfter = response.headers.get("Retry-After");
    if (isRefused) await pause(Number(retryAfter) || DEFAULT_PAUSE_S, init.signal);
    if (key !== mine && !init.keepalive) throw new GivenUp();
    if (response.ok) return response;
    if (!isRefused) throw new ApiError(response.status, await response.json().catch(() => null), retryAfter);
  }
}

/**
 * Return the JSON of a response. Throws Unreachable if it breaks off, or if it is no JSON and so not the server's.
 * @param {Response} response
 * @returns {Promise<any>}
 */
export const jsonOf = (response) =>
  response.json().catch(() => {
    throw new Unreachable();
  });

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
export const read = async (path, init) => jsonOf(await ask(path, init));

/**
 * Send a body as JSON and return the answer's.
 * @param {"POST" | "PATCH"} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 * @returns {Promise<any>}
 */
export const write = async (method, path, body, headers = {}) => jsonOf(await writeFor(method, path, body, headers));

/**
 * Send a body as JSON and return the answer as it is.
 * @param {"POST" | "PATCH"} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 */
export function writeFor(method, path, body, headers = {}) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return ask(path, { method, body: text, headers: { ...(text && { "Content-Type": "application/json" }), ...headers } });
}

/**
 * @param {number} seconds
 * @param {AbortSignal | null} [signal]
 */
async function pause(seconds, signal) {
  const until = Math.max(pausedUntil.value, Date.now() + 1000 * seconds);
  pausedUntil.value = until;
  await new Promise((resolve) => {
    setTimeout(() => {
      // A timer may be early by the clock, so do not ask the clock. Another request may have to wait for longer.
      if (pausedUntil.value === until) pausedUntil.value = 0;
      resolve(undefined);
    }, until - Date.now());
    signal?.addEventListener("abort", resolve);
  });
}

/**
 * Return a path with a query. Values that are null, undefined or empty are left out; a list repeats its name.
 * @param {string} path
 * @param {Record<string, string | number | boolean | readonly string[] | null | undefined>} values
 */
export function withQuery(path, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (Array.isArray(value)) value.forEach((one) => query.append(name, one));
    else if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  return query.size ? `${path}?${query}` : path;
}

/**
 * Return a signed link at this page's host: its own is the server's name for itself, which may not be reachable from here.
 * @param {string} url
 */
export function ofThisHost(url) {
  const { pathname, search } = new URL(url, location.href);
  return location.origin + pathname + search;
}
