/** The draft: what is written in the form. It is kept in this browser, so that a reload loses nothing. */

import { randomId } from "../api/calls.js";
import { colorOf } from "../logic/colors.js";
import { computed, effect, signal } from "../view.js";
import { defaultModel, models } from "./session.js";
import { keep, kept } from "./storage.js";

/**
 * @typedef {import("../api/calls.js").Workflow} Workflow
 * @typedef {import("../api/types.js").Request} Request
 * @typedef {import("../logic/colors.js").Color} Color
 * @typedef {"" | "fail" | "retry" | "deliver"} OnFailure
 * @typedef {"" | "prompt" | "steer" | "match"} Palette
 * @typedef {{way: "scene" | "prompt", scene: string, mood: string, template: string, prompt: string, negative: string,
 *   colors: Color[], palette: Palette, ratio: string, model: string, tier: string, seed: string, count: number,
 *   name: string, brand: string, onFailure: OnFailure, measure: boolean}} Draft
 *   `template` is a prompt in place of the model's own, for a scene and a mood; the server decides on what is empty
 */

export const MOST_COLORS = 8;
export const MOST_PICTURES = 8;
/** After the largest seed comes 0, as in the server's own counting. */
const SEEDS = 2n ** 53n;

/** @type {Draft} */
const EMPTY = {
  way: "scene", scene: "", mood: "", template: "", prompt: "", negative: "", colors: [], palette: "", ratio: "1:1",
  model: "", tier: "", seed: "", count: 1, name: "", brand: "", onFailure: "", measure: false,
};

export const draft = signal({ ...EMPTY, .../** @type {Partial<Draft>} */ (kept("draft", {})) });
effect(() => keep("draft", draft.value));

/** @param {Partial<Draft>} part */
export function change(part) {
  draft.value = { ...draft.value, ...part };
}

export function clear() {
  draft.value = EMPTY;
}

/** The model that the draft names, or the default if that is no longer offered. */
export const chosenModel = computed(
  () => models.value.find((model) => model.name === draft.value.model) ?? defaultModel.value,
);
/** Whether the chosen model follows a negative prompt; true if no model is known. */
export const isNegativeFollowed = computed(() => chosenModel.value?.negative_prompt ?? true);
export const chosenTier = computed(() => {
  const model = chosenModel.value;
  return model?.tiers.includes(draft.value.tier) ? draft.value.tier : (model?.default_tier ?? "");
});
/** @type {import("../vendor/signals.js").ReadonlySignal<Workflow>} */
export const workflow = computed(() => (draft.value.way === "prompt" ? "image-generation" : "background-generator"));

/** The seed that is written; null if the server is to draw one, NaN if what is written is no seed. */
export const seed = computed(() => {
  const text = draft.value.seed.trim();
  if (text === "") return null;
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : NaN;
});

/**
 * Return the draft as requests, one for each picture.
 * @returns {Request[]}
 */
export function requests() {
  const { count } = draft.value;
  const order = randomId();
  return Array.from({ length: count }, (_, index) => ({
    ...request(),
    seed: seed.value === null ? null : Number((BigInt(seed.value) + BigInt(index)) % SEEDS),
    ...(count > 1 && { metadata: { studio: { order, number: index + 1, of: count } } }),
  }));
}

/**
 * Return the draft as one request, without a seed.
 * @returns {Request}
 */
export function request() {
  const { way, scene, mood, template, prompt, negative, colors, ratio, brand, onFailure, measure } = draft.value;
  return {
    ...(way === "prompt" ? { prompt } : { scene_type: scene, mood, prompt: template.trim() || null }),
    negative_prompt: (isNegativeFollowed.value && negative.trim()) || null,
    dominant_colors: colors.map((color) => color.hex),
    palette: draft.value.palette || null,
    display_name: draft.value.name,
    image_model: chosenModel.value?.name ?? null,
    resolution: chosenTier.value || null,
    aspect_ratio: ratio,
    eval_enabled: measure || null,
    on_technical_failure: onFailure || null,
    pilot_brand: brand.trim() || null,
  };
}

/**
 * Take over the settings of an earlier picture.
 * @param {Request} earlier
 */
export function fill(earlier) {
  const isPrompt = !earlier.scene_type;
  draft.value = {
    ...EMPTY,
    way: isPrompt ? "prompt" : "scene",
    scene: earlier.scene_type ?? "",
    mood: earlier.mood ?? "",
    template: isPrompt ? "" : (earlier.prompt ?? ""),
    prompt: isPrompt ? (earlier.prompt ?? "") : "",
    negative: earlier.negative_prompt ?? "",
    colors: (earlier.dominant_colors ?? []).flatMap((text) => colorOf(text) ?? []),
    palette: earlier.palette ?? "",
    ratio: earlier.aspect_ratio ?? "1:1",
    model: earlier.image_model ?? "",
    tier: earlier.resolution ?? "",
    seed: String(earlier.seed ?? ""),
    name: earlier.display_name ?? "",
    brand: earlier.pilot_brand ?? "",
    onFailure: earlier.on_technical_failure ?? "",
    measure: earlier.eval_enabled === true,
  };
}
