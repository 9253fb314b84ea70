/** The problems of the form, by field. */

import { ApiError, GivenUp, Unreachable } from "../api/http.js";
import { computed, effect, signal } from "../view.js";
import { explain, explainDetail } from "../words.js";
import { total } from "./estimate.js";
import { NotSent, Unsettled, sending } from "./order.js";
import { credits, readiness } from "./session.js";

/**
 * A field of the form, by its name in the server's specs; `form` is none of them.
 * @typedef {"scene_type" | "mood" | "prompt" | "negative_prompt" | "dominant_colors" | "palette" | "aspect_ratio"
 *   | "image_model" | "resolution" | "seed" | "display_name" | "pilot_brand" | "on_technical_failure" | "eval_enabled"
 *   | "form"} Field
 */

/** @type {readonly string[]} */
const FIELDS = [
  "scene_type", "mood", "prompt", "negative_prompt", "dominant_colors", "palette", "aspect_ratio", "image_model",
  "resolution", "seed", "display_name", "pilot_brand", "on_technical_failure", "eval_enabled",
];

/** @type {import("../vendor/signals.js").Signal<Partial<Record<Field, string>>>} */
export const problems = signal({});

/**
 * Whether there are too few credits for the draft. It does not say so while an order is being sent or after it broke off, since
 * part of that is paid already, nor while the form has another problem to tell.
 */
export const isShort = computed(
  () => !sending.value && !problems.value.form && total.value > (credits.value?.balance ?? 0),
);

export function clearAll() {
  problems.value = {};
}

/** @param {Field} field */
export function clear(field) {
  if (!problems.value[field] && !problems.value.form) return;
  const { [field]: _, form: __, ...others } = problems.value;
  problems.value = others;
}

/**
 * @param {Field} field
 * @param {string} message
 */
export function show(field, message) {
  const there = problems.value[field];
  problems.value = { ...problems.value, [field]: there ? `${there} ${message}` : message };
}

/** The message shown because the server did not answer, and the one for when it answers. @type {null | {now: string, later: string}} */
let away = null;

effect(() => {
  if (!readiness.value || !away) return;
  const { now, later } = away;
  away = null;
  if (problems.peek().form === now) problems.value = { ...problems.peek(), form: later };
});

/**
 * Show an error at its field if it has one, else above the button.
 * @param {unknown} error
 */
export function showError(error) {
  if (error instanceof GivenUp) return;
  if (error instanceof NotSent) show(fieldOf(error.field), error.message);
  else if (error instanceof ApiError && error.detail.length) error.detail.forEach(showDetail);
  else show("form", explain(error));
  const { form: now } = problems.value;
  if (now && error instanceof Unsettled) away = { now, later: error.later };
  if (now && error instanceof Unreachable) away = { now, later: "The server answers again. Nothing was sent: press again." };
}

/** @param {import("../api/types.js").Detail} detail */
function showDetail(detail) {
  const name = String(detail.loc[1] ?? "");
  const field = fieldOf(name);
  const message = explainDetail(detail);
  show(field, field === "form" && name ? `${name}: ${message}` : message);
}

/**
 * @param {string} name
 * @returns {Field}
 */
const fieldOf = (name) => (FIELDS.includes(name) ? /** @type {Field} */ (name) : "form");
