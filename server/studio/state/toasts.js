/** Short messages at the edge of the page, some of which can be taken back. */

import { signal } from "../view.js";

/** @typedef {{id: number, text: string, wrong: boolean, undo: (() => void) | null}} Toast */

const SHOWN_MS = 8000;

/** @type {import("../vendor/signals.js").Signal<Toast[]>} */
export const toasts = signal([]);
/** What a screen reader is told and nobody sees. */
export const news = signal("");

/** @type {Map<number, {timer: number, done: () => void}>} */
const running = new Map();
let last = 0;

/**
 * Show a message for some seconds.
 * @param {string} text
 * @param {{wrong?: boolean, undo?: (() => void) | null, done?: () => void}} [options]
 *   `done` is called when the message goes without having been taken back
 */
export function tell(text, { wrong = false, undo = null, done = () => {} } = {}) {
  const id = ++last;
  const toast = { id, text, wrong, undo: undo && (() => void (close(id), undo())) };
  toasts.value = [...toasts.value, toast];
  running.set(id, { timer: setTimeout(() => finish(id), SHOWN_MS), done });
  return id;
}

/** @param {string} text */
export function announce(text) {
  news.value = text;
}

/**
 * Take a message away: what it offered to take back holds now.
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

/** Let everything that could still be taken back hold: the page is being left. */
export function finishAll() {
  [...running.keys()].forEach(finish);
}

addEventListener("pagehide", finishAll);
