/** The form: what it offers, what it asks for, and what the server says about that. */

import { ApiError } from "./api.js";
import { byId, el, plural, tell } from "./dom.js";
import { explain, explainDetail, MOODS, RATIOS, ratioOf, SCENES } from "./words.js";

/** @typedef {import("./api.js").Spec} Spec */

const MOST_COLORS = 8;
const MOST_VARIATIONS = 8;

/** @type {import("./api.js").Model[]} */
let models = [];
let cost = 0;
let enabled = true;
/** @type {number | null} */
let balance = null;

/** Is thrown if what the person typed cannot be sent at all. */
export class NotYet extends Error {
  /**
   * @param {string} field
   * @param {string} message
   */
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** @param {string} id */
const input = (id) => byId(id, HTMLInputElement);
/** @param {string} id */
const select = (id) => byId(id, HTMLSelectElement);

/**
 * Build what does not depend on the server.
 * @param {(specs: Spec[]) => Promise<void>} onOrder
 */
export function setUp(onOrder) {
  byId("scenes").append(...SCENES.map((scene) => el("option", { value: scene })));
  byId("moods").append(...MOODS.map((mood) => el("option", { value: mood })));
  byId("ratios").append(...RATIOS.map(ratioChoice));
  byId("counts").append(...Array.from({ length: MOST_VARIATIONS }, (_, index) => countChoice(index + 1)));
  byId("add-color").addEventListener("click", () => addColor("", true));
  byId("image_model").addEventListener("change", () => offerTiers());
  byId("spec").addEventListener("input", (event) => {
    clearProblem(/** @type {Element} */ (event.target).closest("[data-field]"));
    showHints();
  });
  byId("spec").addEventListener("submit", (event) => {
    event.preventDefault();
    void submit(onOrder);
  });
}

/** @param {(specs: Spec[]) => Promise<void>} onOrder */
async function submit(onOrder) {
  const button = byId("generate");
  if (button.getAttribute("aria-disabled") === "true") return;
  clearProblems();
  button.setAttribute("aria-disabled", "true");
  try {
    await onOrder(specs());
  } catch (error) {
    showError(error);
  } finally {
    button.setAttribute("aria-disabled", String(!enabled));
  }
}

/** @param {string} ratio */
function ratioChoice(ratio) {
  const shape = el("span", { className: "shape" });
  const value = ratioOf(ratio);
  shape.style.width = `${24 * Math.min(1, value)}px`;
  shape.style.height = `${24 * Math.min(1, 1 / value)}px`;
  const choice = el("input", { type: "radio", name: "aspect_ratio", value: ratio, checked: ratio === "1:1" });
  return el("label", { className: "ratio" }, choice, el("span", { className: "box" }, shape), ratio);
}

/** @param {number} count */
function countChoice(count) {
  const choice = el("input", { type: "radio", name: "count", value: String(count), checked: count === 1 });
  return el("label", {}, choice, el("span", {}, String(count)));
}

// ── colours ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** @type {() => HTMLInputElement[]} */
const colorTexts = () => [...byId("colors").querySelectorAll(/** @type {"input"} */ ("input.written"))];

/**
 * @param {string} value  as written; empty for one to be filled in
 * @param {boolean} [focus]
 */
function addColor(value, focus = false) {
  if (colorTexts().length >= MOST_COLORS) return;
  const swatch = el("input", { type: "color" });
  const text = el("input", { className: "written", value, placeholder: "navy or #1f3a5f", autocomplete: "off" });
  text.spellcheck = false;
  text.setAttribute("aria-describedby", "dominant_colors-problem");
  const remove = el("button", { type: "button", className: "icon", title: "Remove" }, "×");
  const row = el("div", { className: "color" }, swatch, text, remove);
  swatch.addEventListener("input", () => {
    text.value = swatch.value;
    showSwatch(swatch, text.value);
  });
  text.addEventListener("input", () => showSwatch(swatch, text.value));
  text.addEventListener("paste", (event) => pasteColors(event, row));
  remove.addEventListener("click", () => removeColor(row));
  byId("colors").append(row);
  showSwatch(swatch, value);
  numberColors();
  if (focus) text.focus();
}

/** @param {HTMLElement} row */
function removeColor(row) {
  const near = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  numberColors();
  clearProblem(byId("colors").closest("[data-field]"));
  (near?.querySelector(/** @type {"input"} */ (".written")) ?? byId("add-color")).focus();
}

/** Number the colours' labels in their order, and offer no ninth colour. */
function numberColors() {
  byId("colors").querySelectorAll(".color").forEach((row, index) => {
    const labels = [`Pick colour ${index + 1}`, `Colour ${index + 1}`, `Remove colour ${index + 1}`];
    labels.forEach((label, place) => row.children[place]?.setAttribute("aria-label", label));
  });
  byId("add-color").hidden = colorTexts().length >= MOST_COLORS;
}

/**
 * Put several colours that are pasted at once into as many rows.
 * @param {ClipboardEvent} event
 * @param {HTMLElement} row
 */
function pasteColors(event, row) {
  const found = (event.clipboardData?.getData("text") ?? "").split(/[\s,;]+/).filter(Boolean);
  if (found.length < 2) return;
  event.preventDefault();
  row.remove();
  found.forEach((color) => addColor(color));
  showHints();
}

/**
 * @param {HTMLInputElement} swatch
 * @param {string} text
 */
function showSwatch(swatch, text) {
  const hex = hexOf(text.trim());
  swatch.classList.toggle("unknown", hex === null);
  if (hex !== null) swatch.value = hex;
}

const context = document.createElement("canvas").getContext("2d");

/**
 * Return a CSS colour as `#rrggbb`; null if the browser knows none by that name.
 * @param {string} text
 */
function hexOf(text) {
  if (!context || !/^(#|[a-z])/i.test(text) || !CSS.supports("color", text)) return null;
  context.fillStyle = text;
  return context.fillStyle.startsWith("#") ? context.fillStyle : null;
}

// ── what the server offers ───────────────────────────────────────────────────────────────────────────────────────────

/** @param {import("./api.js").Model[]} offered */
export function offerModels(offered) {
  models = offered;
  const names = models.map(({ name }) => el("option", { value: name }, name));
  byId("image_model").replaceChildren(...names);
  select("image_model").value = models.find((model) => model.default)?.name ?? models[0]?.name ?? "";
  offerTiers();
}

const chosenModel = () => models.find((model) => model.name === select("image_model").value);

/** @param {string | null} [wanted] */
function offerTiers(wanted = null) {
  const model = chosenModel();
  if (!model) return;
  byId("resolution").replaceChildren(...model.tiers.map((tier) => el("option", { value: tier }, tier)));
  select("resolution").value = wanted && model.tiers.includes(wanted) ? wanted : model.default_tier;
  byId("model-hint").textContent = `${plural(model.steps, "step")} · ${model.licence}`;
  showHints();
}

/**
 * @param {{credits_cost: number, enabled: boolean}} operation
 */
export function offerPrice(operation) {
  cost = operation.credits_cost;
  enabled = operation.enabled;
  byId("generate").setAttribute("aria-disabled", String(!enabled));
  if (!enabled) tell(byId("form-problem"), "Generating backgrounds is switched off on this server at the moment.");
  showHints();
}

/** @param {number} value */
export function offerBalance(value) {
  balance = value;
  showHints();
}

/** Write the sentences that depend on what is chosen. */
function showHints() {
  const count = variations();
  const total = cost * count;
  byId("generate").textContent = count === 1 ? "Generate" : `Generate ${count}`;
  byId("price").textContent = priceText(count, total);
  byId("price").classList.toggle("short", balance !== null && total > balance);
  byId("size-hint").textContent = sizeText();
  byId("seed-hint").textContent = seedText(count);
}

/**
 * @param {number} count
 * @param {number} total
 */
function priceText(count, total) {
  const sum = count === 1 ? plural(total, "credit") : `${count} × ${cost} = ${plural(total, "credit")}`;
  const short = balance !== null && total > balance;
  return short ? `${sum}, and ${balance} are left: ask the operator for more` : sum;
}

function sizeText() {
  const side = parseFloat(select("resolution").value) * 1024;
  const ratio = Math.sqrt(ratioOf(chosenRatio()));
  return side ? `about ${Math.round(side * ratio)} × ${Math.round(side / ratio)} pixels` : "";
}

/** @param {number} count */
function seedText(count) {
  const seed = writtenSeed();
  if (Number.isNaN(seed)) return "";
  if (seed === null) return count === 1 ? "" : "each gets its own";
  return count === 1 ? "the same seed makes the same picture" : `${seed} to ${seed + count - 1}`;
}

// ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────────

/** @param {string} name  of the radio buttons, one of which is always checked */
const checkedValue = (name) => {
  const checked = document.querySelector(`#spec [name="${name}"]:checked`);
  return /** @type {HTMLInputElement} */ (checked).value;
};
const chosenRatio = () => checkedValue("aspect_ratio");
const variations = () => Number(checkedValue("count"));

/** Return the seed; null if the server is to draw one, NaN if what is written is no seed. */
function writtenSeed() {
  const text = input("seed").value.trim();
  if (text === "") return null;
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : NaN;
}

/**
 * Return a spec for each variation. Throws NotYet.
 * @returns {Spec[]}
 */
function specs() {
  const seed = writtenSeed();
  if (Number.isNaN(seed)) throw new NotYet("seed", `A whole number from 0 to ${Number.MAX_SAFE_INTEGER}, or nothing.`);
  return Array.from({ length: variations() }, (_, index) => spec(seed === null ? null : seed + index));
}

/**
 * @param {number | null} seed
 * @returns {Spec}
 */
function spec(seed) {
  return {
    scene_type: input("scene_type").value,
    mood: input("mood").value,
    dominant_colors: colorTexts().map((text) => text.value.trim()).filter(Boolean),
    display_name: input("display_name").value,
    image_model: select("image_model").value || null,
    resolution: select("resolution").value || null,
    aspect_ratio: chosenRatio(),
    seed,
    eval_enabled: input("eval_enabled").checked || null,
    on_technical_failure: /** @type {Spec["on_technical_failure"]} */ (select("on_technical_failure").value || null),
    pilot_brand: input("pilot_brand").value.trim() || null,
  };
}

/**
 * Take over the settings of an earlier background.
 * @param {Spec} wanted
 */
export function fill(wanted) {
  clearProblems();
  for (const name of /** @type {const} */ (["scene_type", "mood", "display_name", "pilot_brand"])) {
    input(name).value = wanted[name] ?? "";
  }
  select("on_technical_failure").value = wanted.on_technical_failure ?? "";
  input("eval_enabled").checked = wanted.eval_enabled === true;
  const extras = [wanted.display_name, wanted.pilot_brand, wanted.on_technical_failure, wanted.eval_enabled];
  byId("more", HTMLDetailsElement).open ||= extras.some(Boolean);
  input("seed").value = String(wanted.seed ?? "");
  byId("colors").replaceChildren();
  (wanted.dominant_colors ?? []).forEach((color) => addColor(color));
  numberColors();
  check("aspect_ratio", wanted.aspect_ratio ?? "1:1");
  check("count", "1");
  fillModel(wanted);
  showHints();
  byId("scene_type").focus({ preventScroll: true });
  byId("spec").scrollIntoView({ block: "start" });
  byId("spec").scrollTop = 0;
}

/** @param {Spec} wanted */
function fillModel(wanted) {
  const name = wanted.image_model;
  const offered = !name || models.some((model) => model.name === name);
  select("image_model").value = name && offered ? name : (models.find((model) => model.default)?.name ?? "");
  offerTiers(wanted.resolution);
  if (!offered) showProblem("image_model", `${name} is no longer offered; this is another model.`);
}

/**
 * @param {string} name
 * @param {string} value
 */
function check(name, value) {
  const choice = document.querySelector(`#spec [name="${name}"][value="${CSS.escape(value)}"]`);
  if (choice instanceof HTMLInputElement) choice.checked = true;
}

// ── what is wrong with it ────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Show an error at its field if it has one, else above the button.
 * @param {unknown} error
 */
export function showError(error) {
  if (error instanceof NotYet) showProblem(error.field, error.message);
  else if (error instanceof ApiError && error.detail.length) error.detail.forEach(showDetail);
  else tell(byId("form-problem"), explain(error));
  const first = document.querySelector("#spec [aria-invalid=true]");
  if (first instanceof HTMLElement) first.focus();
}

/** @param {import("./api.js").Detail} detail */
function showDetail(detail) {
  const field = String(detail.loc[1] ?? "");
  const message = explainDetail(detail);
  if (!document.querySelector(`#spec [data-field="${CSS.escape(field)}"]`)) {
    tell(byId("form-problem"), field ? `${field}: ${message}` : message);
    return;
  }
  const index = detail.loc[2];
  // Empty rows are not sent, so the server's index counts the filled ones.
  const filled = colorTexts().filter((text) => text.value.trim());
  showProblem(field, message, field === "dominant_colors" && typeof index === "number" ? filled[index] : undefined);
}

/**
 * @param {string} field
 * @param {string} message
 * @param {HTMLElement} [culprit]  the input that is wrong, if the field has several
 */
function showProblem(field, message, culprit) {
  const box = /** @type {HTMLElement} */ (document.querySelector(`#spec [data-field="${field}"]`));
  const line = byId(`${field}-problem`);
  tell(line, line.hidden ? message : `${line.textContent} ${message}`);
  (culprit ?? box.querySelector("input, select"))?.setAttribute("aria-invalid", "true");
  const details = box.closest("details");
  if (details) details.open = true;
}

/** @param {Element | null} box */
function clearProblem(box) {
  if (!box) return;
  box.querySelectorAll("[aria-invalid]").forEach((wrong) => wrong.removeAttribute("aria-invalid"));
  box.querySelectorAll(".problem").forEach((line) => tell(/** @type {HTMLElement} */ (line), ""));
}

function clearProblems() {
  clearProblem(byId("spec"));
}
