/** Light or dark: as the system is set, or as was chosen here. */

import { keep, kept } from "../state/storage.js";
import { effect, signal } from "../view.js";

/** @typedef {"" | "light" | "dark"} Theme  an empty one follows the system */

/** @type {[Theme, string][]} */
export const THEMES = [
  ["", "System"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export const theme = signal(kept("theme", /** @type {Theme} */ ("")));

effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

/** @param {Theme} wanted */
export function chooseTheme(wanted) {
  theme.value = wanted;
  keep("theme", wanted || null);
}
