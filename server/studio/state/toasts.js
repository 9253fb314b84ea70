/** Short messages at the edge of the page. What some of them tell can be undone. */

import { GivenUp } from "../api/http.js";
import { signal } from "../view.js";
import { explain } from "../words.js";

/** @typedef {{id: number, text: string, wrong: boolean, undo: (() => void) | null}} Toast */

/** @typedef {{id: number, text: string}} News */

const SHOWN_MS = 8000;
/** Milliseconds for which a text stays in the page for screen readers. */
const NEWS_MS = 5000;

/** @type {import("../vendor/signals.js").Signal<Toast[]>} */
export const toasts = signal([]);
/** Texts that only a screen reader tells, oldest first. @type {import("../vendor/signals.js").Signal<News[]>} */
export const news = signal([]);

/** @type {Map<number, {timer: number, done: () => void}>} */
const running = new Map();
let last = 0;

/**
 * Show a message for some seconds.
 * @param {string} text
 * @param {{wrong?: boolean, undo?: (() => void) | null, done?: () => void}} [options]
 *   `done` is called when the message goes and was not undone
 */
export function tell(text, { wrong = false, undo = null, done = () => {} } = {}) {
  const id = ++last;
  const toast = { id, text, wrong, undo: undo && (() => void (close(id), undo())) };
  toasts.value = [...toasts.value, toast];
  running.set(id, { timer: setTimeout(() => finish(id), SHOWN_MS), done });
  announce(undo ? `${text}. Control Z takes it back.` : text);
}

/**
 * Tell the error of the user's last action; nothing if the key was given up since.
 * @param {unknown} error
 * @param {string} [before]  what did not work
 */
export function tellError(error, before = "") {
  if (!(error instanceof GivenUp)) tell(before + explain(error), { wrong: true });
}

/** @param {string} text */
export function announce(text) {
  const item = { id: ++last, text };
  news.value = [...news.value, item];
  setTimeout(() => void (news.value = news.value.filter((other) => other !== item)), NEWS_MS);
}

/**
 * Keep a message while the pointer or the focus is on it.
 * @param {number} id
 */
export const hold = (id) => clearTimeout(running.get(id)?.timer);

/**
 * Let a message that was held go after its usual time.
 * @param {number} id
 */
export function release(id) {
  const held = running.get(id);
  if (!held) return;
  clearTimeout(held.timer);
  held.timer = setTimeout(() => finish(id), SHOWN_MS);
}

/** Undo the last thing that can be undone; return whether there is one. */
export function undoLast() {
  const undo = toasts.value.filter((toast) => toast.undo).at(-1)?.undo;
  if (!undo) return false;
  undo();
  return true;
}

/**
 * Remove a message: what it offered to undo can be undone no longer.
 * @param {number} id
 */
export function finish(id) {
  const done = running.get(id)?.done;
  close(id);
  done?.();
}

/** @param {number} id */
function close(id) {
  clearTimeout(running.get(id)?.timer);
  running.delete(id);
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

/** Remove all messages, so that nothing can be undone any more: the page is being left, or its key given up. */
export function finishAll() {
  [...running.keys()].forEach(finish);
}

addEventListener("pagehide", finishAll);

addEventListener("keydown", (event) => {
  const isWriting = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
  if (event.key !== "z" || event.shiftKey || !(event.ctrlKey || event.metaKey) || isWriting) return;
  if (undoLast()) event.preventDefault();
});
