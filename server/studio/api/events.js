/** Follows the events of all of the client's jobs, as they happen. */

import { ApiError, ask, read } from "./http.js";

/** @typedef {import("./types.js").ClientEvent} ClientEvent */

/** More than twice the server's heartbeat: a stream that is quiet for this long is broken, or a proxy holds it back. */
const SILENCE_MS = 35_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** Seconds that a request waits for news if streams do not get through. */
const WAIT_S = 25;
/** Milliseconds before streams are tried again: not a proxy, but a network that was away, may have held them back. */
const WITHOUT_STREAMS_MS = 1_800_000;

/** Until when (milliseconds since 1970) requests wait for news instead of streams. */
let withoutStreamsUntil = 0;

/**
 * Return the cursor of the client's latest event.
 * @returns {Promise<number>}
 */
export const latestCursor = async () => (await read("/v1/events?since=latest")).latest_cursor;

/**
 * Hand over every event after a cursor, until the signal is aborted. Requests that fail are repeated.
 * Throws ApiError if the server refuses the key.
 * @param {() => Promise<number>} begin  reads the jobs, and returns the cursor after which to follow
 * @param {(events: ClientEvent[]) => void} onEvents
 * @param {AbortSignal} signal
 */
export async function follow(begin, onEvents, signal) {
  let pause = FIRST_PAUSE_MS;
  /** @type {number | null} */
  let since = null;
  while (!signal.aborted) {
    try {
      since ??= await begin();
      if (signal.aborted) return;
      const polls = Date.now() < withoutStreamsUntil;
      for await (const events of polls ? longPoll(since, signal) : stream(since, signal)) {
        if (signal.aborted) return;
        since = events.at(-1)?.cursor ?? since;
        pause = FIRST_PAUSE_MS;
        onEvents(events);
      }
      if (polls) continue;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

/**
 * Yield events as the server sends them: by fetch, since EventSource cannot send the key.
 * @param {number} since
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<ClientEvent[]>}
 */
async function* stream(since, signal) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  signal.addEventListener("abort", stop);
  let timer = setTimeout(stop, SILENCE_MS);
  let isHeard = false;
  try {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": String(since) };
    const response = await ask("/v1/events", { headers, signal: quiet.signal });
    for await (const lines of chunksOfLines(response)) {
      isHeard = true;
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MS);
      const events = lines.filter((line) => line.startsWith("data:")).map((line) => JSON.parse(line.slice(5)));
      if (events.length) yield events;
    }
  } catch (error) {
    // A stream that was heard is not held back by a proxy: this device slept, or its network was away.
    if (quiet.signal.aborted && !signal.aborted && !isHeard) withoutStreamsUntil = Date.now() + WITHOUT_STREAMS_MS;
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
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
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
 * @param {number} since
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<ClientEvent[]>}
 */
async function* longPoll(since, signal) {
  const page = await read(`/v1/events?since=${since}&wait=${WAIT_S}`, { signal });
  if (page.events.length) yield page.events;
}
