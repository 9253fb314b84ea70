/** Sending what the form asks for: the price is checked against what was shown, then each picture is asked for. */

import * as calls from "../api/calls.js";
import { ApiError } from "../api/http.js";
import { signal } from "../view.js";
import { explain } from "../words.js";
import { draft, requests, seed, workflow } from "./draft.js";
import * as estimates from "./estimate.js";
import { addJob } from "./jobs.js";
import { meet, readCreditsSoon } from "./session.js";
import { announce } from "./toasts.js";

/** @typedef {import("../api/types.js").Request} Request */

/** Is thrown if an order is not sent, with what to do about it. */
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

/** How many of an order are on their way, while it is being sent. @type {import("../vendor/signals.js").Signal<null | {sent: number, of: number}>} */
export const sending = signal(null);

/**
 * Send the draft for the price that is shown. Throws NotSent, ApiError and Unreachable; nothing was sent if it is the first.
 */
export async function sendDraft() {
  if (sending.value) return;
  if (Number.isNaN(seed.value)) {
    throw new NotSent(`A whole number from 0 to ${Number.MAX_SAFE_INTEGER}, or nothing.`, "seed");
  }
  const shown = estimates.total.value;
  sending.value = { sent: 0, of: draft.value.count };
  try {
    const { credits_cost, balance } = await estimates.askNow();
    const cost = credits_cost * draft.value.count;
    if (cost > shown) throw new NotSent(priceChanged(cost, shown));
    if (cost > balance) {
      throw new NotSent(`Not enough credits: this costs ${cost} and you have ${balance}. Ask the operator for more.`);
    }
    await sendAll(workflow.value, requests(), credits_cost);
  } finally {
    sending.value = null;
  }
}

/**
 * @param {number} cost
 * @param {number} shown
 */
const priceChanged = (cost, shown) =>
  `The price has changed: it is ${cost} credits now, not ${shown}. Nothing was sent; press again if you agree.`;

/**
 * @param {calls.Workflow} workflow
 * @param {Request[]} specs
 * @param {number} price  the most that each may cost: the server refuses what has become dearer
 */
async function sendAll(workflow, specs, price) {
  let sent = 0;
  try {
    for (const spec of specs) {
      const { job_id } = await calls.generate(workflow, spec, price);
      addJob(job_id, spec);
      sent += 1;
      sending.value = sending.value && { sent, of: specs.length };
    }
    announce(specs.length === 1 ? "Your picture is on the way" : `${sent} pictures are on the way`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return meet(error);
    throw sent ? new NotSent(`${sent} of ${specs.length} are on the way. ${explain(error)}`) : error;
  } finally {
    if (sent) readCreditsSoon();
  }
}

/**
 * Ask for one picture, for the price that was shown. Throws NotSent, ApiError and Unreachable.
 * @param {calls.Workflow} workflow
 * @param {Request} spec
 * @param {number} shown
 */
export async function sendOne(workflow, spec, shown) {
  const { credits_cost } = await calls.estimate(workflow, spec);
  if (credits_cost > shown) throw new NotSent(priceChanged(credits_cost, shown));
  await sendAll(workflow, [spec], shown);
}
