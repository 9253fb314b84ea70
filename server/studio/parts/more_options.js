/** Options that few need: the name, the brand, prompts beside the scene, and what to do about flaws. */

import { change, draft, isNegativeFollowed } from "../state/draft.js";
import { problems } from "../state/problems.js";
import { html, useEffect, useRef } from "../view.js";
import { Field, control, text } from "./field.js";

const MOST = 200;
const MOST_PROMPT = 2000;

/** @type {(keyof import("../state/draft.js").Draft)[]} */
const HERE = ["name", "brand", "template", "negative", "palette", "onFailure", "measure"];

/** @type {import("../state/problems.js").Field[]} */
const PROBLEMS = [
  "display_name", "pilot_brand", "negative_prompt", "palette", "on_technical_failure", "eval_enabled",
];

/** @type {[import("../state/draft.js").OnFailure, string][]} */
const ON_FAILURE = [
  ["", "Do what this server is set to do"],
  ["fail", "Give the credits back"],
  ["retry", "Try again with the next seed"],
  ["deliver", "Deliver it anyway"],
];

/** @type {[import("../state/draft.js").Palette, string][]} */
const PALETTE = [
  ["", "As the model is set"],
  ["prompt", "Say them to the model"],
  ["steer", "Also guide the picture towards them while it is made"],
  ["match", "Also move the finished picture onto them"],
];

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export function MoreOptions() {
  const set = HERE.filter(
    (name) => Boolean(draft.value[name]) && (name !== "negative" || isNegativeFollowed.value),
  ).length;
  const isTemplate = draft.value.way === "scene" && problems.value.prompt;
  const mustOpen = Boolean(isTemplate) || PROBLEMS.some((name) => problems.value[name]);
  const details = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  useEffect(() => {
    if (mustOpen && details.current) details.current.open = true;
  }, [mustOpen]);
  /** @param {{currentTarget: HTMLDetailsElement}} event */
  const onToggle = ({ currentTarget }) => {
    if (currentTarget.open) currentTarget.scrollIntoView({ block: "nearest", behavior: stillness.matches ? "instant" : "smooth" });
  };
  return html`
    <details ref=${details} onToggle=${onToggle}>
      <summary>More options ${set > 0 && html`<span class="badge">${set} set</span>`}</summary>
      <${Field} name="display_name" label="Name">
        <input
          ...${text("display_name", draft.value.name, (name) => change({ name }))}
          maxlength=${MOST}
          autocomplete="off"
          placeholder="made up from what you describe"
        />
      <//>
      ${draft.value.way === "scene" && html`<${Template} />`}
      ${isNegativeFollowed.value && html`<${Negative} />`}
      <${Choice} name="palette" label="Colours" value=${draft.value.palette} choices=${PALETTE} write=${onPalette} />
      <${Field} name="pilot_brand" label="Brand">
        <input
          ...${text("pilot_brand", draft.value.brand, (brand) => change({ brand }))}
          maxlength=${MOST}
          autocomplete="off"
          placeholder="none"
        />
      <//>
      <${Choice}
        name="on_technical_failure"
        label="If a picture comes out unusable"
        value=${draft.value.onFailure}
        choices=${ON_FAILURE}
        write=${onFailure}
      />
      <${Measure} />
    </details>
  `;
}

/** @param {import("../state/draft.js").Palette} palette */
const onPalette = (palette) => change({ palette });
/** @param {import("../state/draft.js").OnFailure} wanted */
const onFailure = (wanted) => change({ onFailure: wanted });

const Template = () => html`
  <${Field} name="prompt" label="Prompt in place of the model's own">
    <textarea
      ...${text("prompt", draft.value.template, (template) => change({ template }))}
      rows="2"
      maxlength=${MOST_PROMPT}
      placeholder="scene and mood then only label the picture"
    ></textarea>
  <//>
`;

const Negative = () => html`
  <${Field} name="negative_prompt" label="What it should not show">
    <input
      ...${text("negative_prompt", draft.value.negative, (negative) => change({ negative }))}
      maxlength=${MOST_PROMPT}
      autocomplete="off"
      placeholder="none"
    />
  <//>
`;

/**
 * @param {{name: import("../state/problems.js").Field, label: string, value: string, choices: [string, string][],
 *   write: (value: any) => void}} props
 */
const Choice = ({ name, label, value, choices, write }) => html`
  <${Field} name=${name} label=${label}>
    <select
      ...${control(name)}
      value=${value}
      onChange=${(/** @type {{currentTarget: HTMLSelectElement}} */ event) => write(event.currentTarget.value)}
    >
      ${choices.map(([choice, says]) => html`<option value=${choice} selected=${choice === value}>${says}</option>`)}
    </select>
  <//>
`;

const Measure = () => html`
  <label class="check">
    <input
      type="checkbox"
      checked=${draft.value.measure}
      onChange=${(/** @type {{currentTarget: HTMLInputElement}} */ event) => change({ measure: event.currentTarget.checked })}
    />
    Measure colours and sharpness
  </label>
`;
