/** The jobs that failed in the last day, until the user dismisses them. */

import { computed, signal } from "../view.js";
import { explainFailure, nameOf, plural } from "../words.js";
import { keep, kept } from "./storage.js";
import { announce, tell } from "./toasts.js";

/**
 * @typedef {import("../api/types.js").Job} Job
 * @typedef {import("../api/types.js").JobEvent} JobEvent
 * @typedef {import("../api/types.js").Request} Request
 * @typedef {{id: string, request: Request, reason: string, why: string, at: string}} Failure
 */

export const MOST_FAILURES = 50;
const MOST_DISMISSED = 500;
/** Milliseconds in which cancelled jobs gather for one message. */
const GATHER_MS = 400;

/** @type {import("../vendor/signals.js").Signal<Failure[]>} */
const failed = signal([]);
/** @type {import("../vendor/signals.js").Signal<string[]>} */
const dismissed = signal(kept("dismissed", /** @type {string[]} */ ([])));
export const failures = computed(() => failed.value.filter((failure) => !dismissed.value.includes(failure.id)));

/** @param {JobEvent} event */
export const isCancelled = (event) => event.extra.reason === "cancelled";

/**
 * Keep the failures among jobs that have ended without pictures, in place of those that were kept.
 * @param {readonly Job[]} ended  newest first
 */
export function keepFailures(ended) {
  failed.value = ended.flatMap(({ public_id, request, latest_event }) =>
    latest_event && !isCancelled(latest_event) ? [failureOf(public_id, request, latest_event)] : [],
  );
}

/**
 * Keep a job's failure, and tell of it. If the job was cancelled, only tell of it.
 * @param {string} id
 * @param {Request} request
 * @param {JobEvent} event  the job's last
 */
export function addFailure(id, request, event) {
  const failure = failureOf(id, request, event);
  const text = `${nameOf(request)}: ${failure.why}`;
  if (isCancelled(event)) return tellCancelled(text, event.extra.refunded ?? 0);
  announce(text);
  failed.value = [failure, ...failed.value.filter((other) => other.id !== id)].slice(0, MOST_FAILURES);
}

/**
 * @param {string} id
 * @param {Request} request
 * @param {JobEvent} event
 * @returns {Failure}
 */
const failureOf = (id, request, event) => ({
  id,
  request,
  reason: event.extra.reason ?? "",
  why: explainFailure(event),
  at: event.created_at,
});

/** The cancelled jobs that were not told of yet. @type {{texts: string[], refunded: number}} */
let cancelled = { texts: [], refunded: 0 };

/**
 * Tell of a job that was cancelled; of several at once in one message.
 * @param {string} text
 * @param {number} refunded
 */
function tellCancelled(text, refunded) {
  if (cancelled.texts.length === 0) setTimeout(tellAllCancelled, GATHER_MS);
  cancelled = { texts: [...cancelled.texts, text], refunded: cancelled.refunded + refunded };
}

function tellAllCancelled() {
  const { texts, refunded } = cancelled;
  cancelled = { texts: [], refunded: 0 };
  const several = `${plural(texts.length, "job")} cancelled. ${plural(refunded, "credit")} given back.`;
  tell(texts.length === 1 && texts[0] ? texts[0] : several);
}

/** @param {readonly string[]} ids  of failures that were read */
export function dismiss(ids) {
  dismissed.value = [...dismissed.value, ...ids].slice(-MOST_DISMISSED);
  keep("dismissed", dismissed.value);
}
