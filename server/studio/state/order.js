/** Sending orders: the price is checked against what was shown, then each picture is asked for. */

import * as calls from "../api/calls.js";
import { ApiError, GivenUp, isUnknown } from "../api/http.js";
import { signal } from "../view.js";
import { explain, explainNotTaken, sentence } from "../words.js";
import { draft, requests, seed, workflow } from "./draft.js";
import * as estimates from "./estimate.js";
import { addJob } from "./jobs.js";
import { meet, readCreditsSoon } from "./session.js";
import { announce } from "./toasts.js";

/**
 * @typedef {import("../api/types.js").Request} Request
 * @typedef {(spec: Request, key: string, price: number) => Promise<import("../api/types.js").Accepted>} Send
 * @typedef {{send: Send, price: number, requests: {spec: Request, key: string}[]}} Order
 *   `price` is the most that each may cost: the server refuses a request that has become dearer. Because of its idempotency
 *   `key` a request that is sent again is paid for once
 */

/** An order was not sent; the message says what to do about it. */
export class NotSent extends Error {
  /**
   * @param {string} message
   * @param {string} [field]  of the form, if one is at fault
   */
  constructor(message, field = "") {
    super(message);
    this.field = field;
  }
}

const UNKNOWN =
  "Whether it was taken is not known. Press again to find out: as long as you change nothing, nothing is paid for twice.";

/** It is not known what became of an order. */
export class Unsettled extends Error {
  /**
   * @param {string} before  what is known of it
   * @param {string} why
   */
  constructor(before, why) {
    super(`${before}${sentence(why)} ${UNKNOWN}`);
    /** The message once the server answers again. */
    this.later = before + UNKNOWN;
  }
}

/**
 * Orders whose outcome is not known, by the object that they were made from: the draft as it stood, a request, or a failure.
 * Sent again, they keep their keys.
 * @type {WeakMap<object, Order>}
 */
const unsettled = new WeakMap();

/** How many of an order are on their way, while it is being sent. @type {import("../vendor/signals.js").Signal<null | {sent: number, of: number}>} */
export const sending = signal(null);

/** Send the draft for the price that is shown. Throws NotSent, Unsettled, ApiError, Unreachable and GivenUp. */
export async function sendDraft() {
  if (sending.value) return;
  if (Number.isNaN(seed.value)) {
    throw new NotSent(`A whole number from 0 to ${Number.MAX_SAFE_INTEGER}, or nothing.`, "seed");
  }
  const asWritten = draft.value;
  sending.value = { sent: 0, of: asWritten.count };
  try {
    await sendAll(unsettled.get(asWritten) ?? (await orderOfDraft()), asWritten);
  } finally {
    sending.value = null;
  }
}

/** @returns {Promise<Order>} */
async function orderOfDraft() {
  const shown = estimates.total.value;
  const order = { send: to(workflow.value), requests: requests().map(withKey) };
  const { credits_cost, balance } = await estimates.askNow();
  const cost = credits_cost * order.requests.length;
  if (cost > shown) throw new NotSent(priceChanged(cost, shown));
  if (cost > balance) {
    throw new NotSent(`Not enough credits: this costs ${cost} and you have ${balance}. Ask the operator for more.`);
  }
  return { ...order, price: credits_cost };
}

/**
 * @param {calls.Workflow} workflow
 * @returns {Send}
 */
const to = (workflow) => (spec, key, price) => calls.generate(workflow, spec, key, price);

/** @param {Request} spec */
const withKey = (spec) => ({ spec, key: calls.randomId() });

/**
 * @param {number} cost
 * @param {number} shown
 */
const priceChanged = (cost, shown) =>
  `The price has changed: it is ${cost} credits now, not ${shown}. Nothing was sent; press again if you agree.`;

/**
 * @param {Order} order
 * @param {object} madeFrom  what it was made from
 */
async function sendAll(order, madeFrom) {
  const { send, price, requests } = order;
  let sent = 0;
  unsettled.delete(madeFrom);
  try {
    for (const { spec, key } of requests) {
      const { job_id } = await send(spec, key, price);
      addJob(job_id, spec);
      sent += 1;
      sending.value = sending.value && { sent, of: requests.length };
    }
    announce(requests.length === 1 ? "Your picture is on the way" : `${sent} pictures are on the way`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      meet(error);
      throw new GivenUp();
    }
    const before = sent ? `${sent} of ${requests.length} are on the way. ` : "";
    if (isUnknown(error)) {
      unsettled.set(madeFrom, order);
      throw new Unsettled(before, explain(error));
    }
    if (error instanceof ApiError && error.status === 503) throw new NotSent(before + explainNotTaken(error));
    throw sent && error instanceof ApiError ? new NotSent(before + explain(error)) : error;
  } finally {
    if (sent) readCreditsSoon();
  }
}

/**
 * Ask for one picture, for the price that was shown. Throws NotSent, Unsettled, ApiError, Unreachable and GivenUp.
 * @param {calls.Workflow} workflow
 * @param {Request} spec
 * @param {number} shown
 */
export const sendOne = (workflow, spec, shown) =>
  sendFor({ send: to(workflow), price: shown, requests: [withKey(spec)] }, () => calls.estimate(workflow, spec), spec);

/**
 * Try a failed job again, for the price that was shown. Its key follows from the job, so that other windows and the client's
 * command pay for no second one. Throws NotSent, Unsettled, ApiError, Unreachable and GivenUp.
 * @param {import("./failures.js").Failure} failure
 * @param {number} shown
 */
export const sendAgain = (failure, shown) =>
  sendFor(
    {
      send: (_, key, price) => calls.retry(failure.id, key, price),
      price: shown,
      requests: [{ spec: failure.request, key: `retry-${failure.id}` }],
    },
    () => calls.estimateRetry(failure.id),
    failure,
  );

/**
 * Send an order if it still costs what was shown.
 * @param {Order} order
 * @param {() => Promise<import("../api/types.js").Estimate>} ask
 * @param {object} madeFrom
 */
async function sendFor(order, ask, madeFrom) {
  const before = unsettled.get(madeFrom);
  if (before) return sendAll(before, madeFrom);
  const { credits_cost } = await ask();
  if (credits_cost > order.price) throw new NotSent(priceChanged(credits_cost, order.price));
  await sendAll(order, madeFrom);
}
