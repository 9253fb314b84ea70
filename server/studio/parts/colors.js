/** The colours that matter: chips with a picker and a name, and how many of them the model uses. */

import { colorsIn } from "../logic/colors.js";
import { MOST_COLORS, change, chosenModel, draft } from "../state/draft.js";
import { understood } from "../state/estimate.js";
import { clear, show } from "../state/problems.js";
import { html, useState } from "../view.js";
import { Icon } from "./icon.js";
import { FieldSet, control } from "./field.js";

const FIELD = "dominant_colors";

/** @typedef {import("../logic/colors.js").Color} Color */

/** @param {Color[]} colors */
const setColors = (colors) => change({ colors: colors.slice(0, MOST_COLORS) });

export function Colors() {
  const { colors } = draft.value;
  const used = understood.value?.colors_used ?? colors.length;
  const isFull = colors.length >= MOST_COLORS;
  return html`
    <${FieldSet} name=${FIELD} legend="Colours" aside=${readText()} hint=${left(colors, used)}>
      ${colors.length > 0 &&
      html`<ul class="chips" aria-label="Chosen colours">
        ${colors.map((color, index) => html`<${Chip} key=${index} color=${color} index=${index} used=${index < used} />`)}
      </ul>`}
      ${!isFull && html`<${Adder} />`}
    <//>
  `;
}

/** Say how many colours the model reads, if it does not read all that may be given. */
function readText() {
  const most = chosenModel.value?.vocabulary?.colors ?? MOST_COLORS;
  return most < MOST_COLORS ? `up to ${most} are used` : "";
}

/**
 * Say which colours are left out, before they are paid for.
 * @param {Color[]} colors
 * @param {number} used
 */
function left(colors, used) {
  if (used >= colors.length) return "";
  const model = chosenModel.value?.name ?? "This model";
  return used === 0
    ? `${model} uses no colours for this.`
    : `${model} uses the first ${used}; the ${colors.length - used === 1 ? "other is" : "others are"} left out.`;
}

/** @param {{color: Color, index: number, used: boolean}} props */
function Chip({ color, index, used }) {
  const others = draft.value.colors;
  /** @param {{currentTarget: HTMLInputElement}} event */
  const onPick = ({ currentTarget }) => {
    const [picked] = colorsIn(currentTarget.value) ?? [];
    if (picked) setColors(others.map((other, place) => (place === index ? picked : other)));
  };
  /** @param {{currentTarget: HTMLButtonElement}} event */
  const onRemove = ({ currentTarget }) => {
    const list = currentTarget.closest("fieldset");
    clear(FIELD);
    setColors(others.filter((_, place) => place !== index));
    requestAnimationFrame(() => list?.querySelector(/** @type {"input"} */ (`#${FIELD}`))?.focus());
  };
  return html`
    <li class=${used ? "chip" : "chip unused"} title=${`${color.name}, ${color.hex}`}>
      <input
        type="color"
        value=${color.hex}
        aria-label=${`Colour ${index + 1}, ${color.name}: pick another`}
        onInput=${onPick}
      />
      <span class="name">${color.name}</span>
      ${!used && html`<span class="unseen">, not used</span>`}
      <button type="button" class="quiet" aria-label=${`Remove colour ${index + 1}, ${color.name}`} onClick=${onRemove}>
        <${Icon} name="close" />
      </button>
    </li>
  `;
}

/** Takes colours by name or code, or from the picker. */
function Adder() {
  const [written, write] = useState("");
  /** @param {string} text */
  const add = (text) => {
    if (!text.trim()) return true;
    const found = colorsIn(text);
    if (found) setColors([...draft.value.colors, ...found]);
    else show(FIELD, `“${text.trim()}” is no colour: write a name such as navy, or a code such as #1f3a5f.`);
    write(found ? "" : text);
    return found !== null;
  };
  /** @param {KeyboardEvent & {currentTarget: HTMLInputElement}} event */
  const onKeyDown = (event) => {
    const text = event.currentTarget.value;
    if (event.key === "Backspace" && !text) setColors(draft.value.colors.slice(0, -1));
    if (event.key !== "Enter" && event.key !== ",") return;
    // Enter in an empty field sends the form, as it does in the others.
    if (event.key === "Enter" && !text.trim()) return;
    event.preventDefault();
    clear(FIELD);
    add(text);
  };
  /** @param {{currentTarget: HTMLInputElement}} event */
  const onInput = ({ currentTarget: { value } }) => {
    clear(FIELD);
    write(value);
  };
  /** @param {{currentTarget: HTMLInputElement}} event */
  const onPicked = ({ currentTarget: { value } }) => void add(value);
  return html`
    <div class="adder">
      <input
        ...${control(FIELD)}
        aria-label="Add a colour"
        value=${written}
        autocomplete="off"
        spellcheck=${false}
        placeholder="navy, #1f3a5f, or several"
        onInput=${onInput}
        onKeyDown=${onKeyDown}
        onBlur=${(/** @type {{currentTarget: HTMLInputElement}} */ event) => add(event.currentTarget.value)}
      />
      <label class="picker" title="Pick a colour">
        <span class="unseen">Pick a colour</span>
        <input type="color" defaultValue="#8a7f72" onChange=${onPicked} />
        <${Icon} name="add" />
      </label>
    </div>
  `;
}
