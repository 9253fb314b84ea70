/** The key that the desk is open with. */

import { ApiError, GivenUp, read, useKey } from "../api/http.js";
import { keep, kept } from "../state/storage.js";
import { signal } from "../view.js";

const KEPT = "desk-key";

/** @type {import("../vendor/signals.js").Signal<"asking" | "entering" | "open">} */
export const phase = signal("asking");
/** Why the key was not taken. */
export const keyProblem = signal("");

export const keptKey = () => kept(KEPT, "");

/** Take a key out of the address, so that it neither stays in the history nor on the screen. */
export function keyFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("key");
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found ?? "";
}

/**
 * Open the desk with a key, if it has the capability.
 * @param {string} wanted
 */
export async function enter(wanted) {
  const key = wanted.match(/sk_(live|test)_[\w-]+/)?.[0] ?? "";
  if (!key) {
    keyProblem.value = "That is no key: keys are written sk_live_…";
    return;
  }
  phase.value = "entering";
  keyProblem.value = "";
  useKey(key);
  try {
    await read("/v1/admin/devices");
  } catch (error) {
    if (error instanceof GivenUp) return;
    refuse(error);
    return;
  }
  keep(KEPT, key);
  phase.value = "open";
}

/** Forget the key, and ask for one again. */
export function leave() {
  keep(KEPT, null);
  askAgain("");
}

/**
 * Ask for a key again. One that the server refuses is forgotten; if the server could not be asked, it may be good.
 * @param {unknown} error
 */
export function refuse(error) {
  if (error instanceof ApiError && error.status === 401) keep(KEPT, null);
  askAgain(explain(error));
}

/** @param {string} why */
function askAgain(why) {
  useKey("");
  keyProblem.value = why;
  phase.value = "asking";
}

/** @param {unknown} error */
export const explain = (error) => (error instanceof Error ? error.message : String(error));
