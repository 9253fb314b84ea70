/** The fields for shape, model, resolution, seed and how many pictures. */

import { MOST_PICTURES, change, chosenModel, chosenTier, draft, seed } from "../state/draft.js";
import { models } from "../state/session.js";
import { html } from "../view.js";
import { RATIOS, plural, ratioOf } from "../words.js";
import { Field, FieldSet, control, text } from "./field.js";

/** Pixels of the longer side of the sign that shows a shape. */
const SIGN = 20;

export function Looks() {
  const model = chosenModel.value;
  const others = models.value.length > 1;
  /** @param {{currentTarget: HTMLSelectElement}} event */
  const onModel = ({ currentTarget }) => change({ model: currentTarget.value, tier: "" });
  /** @param {{currentTarget: HTMLSelectElement}} event */
  const onTier = ({ currentTarget }) => change({ tier: currentTarget.value });
  return html`
    <${Shapes} />
    <div class="pair">
      <${Field} name="image_model" label="Model" hint=${model && `${plural(model.steps, "step")} · ${model.licence}`}>
        <select ...${control("image_model")} value=${model?.name} onChange=${onModel} disabled=${!others}>
          ${models.value.map(({ name }) => html`<option value=${name} selected=${name === model?.name}>${name}</option>`)}
        </select>
      <//>
      <${Field} name="resolution" label="Resolution" hint=${sizeText()}>
        <select ...${control("resolution")} value=${chosenTier.value} onChange=${onTier} disabled=${(model?.tiers.length ?? 0) < 2}>
          ${model?.tiers.map((tier) => html`<option value=${tier} selected=${tier === chosenTier.value}>${tier}</option>`)}
        </select>
      <//>
    </div>
    <${Counts} />
    <${Field} name="seed" label="Seed" aside=${seedText()}>
      <input
        ...${text("seed", draft.value.seed, (value) => change({ seed: value }))}
        inputmode="numeric"
        autocomplete="off"
        placeholder="a new one each time"
      />
    <//>
  `;
}

const Shapes = () => html`
  <${FieldSet} name="aspect_ratio" legend="Shape">
    <div class="ratios">
      ${RATIOS.map(
        (ratio) => html`
          <label>
            <input
              type="radio"
              name="aspect_ratio"
              value=${ratio}
              checked=${draft.value.ratio === ratio}
              onChange=${() => change({ ratio })}
            />
            <span class="box"><${Sign} ratio=${ratioOf(ratio)} /></span>
            <span>${ratio}</span>
          </label>
        `,
      )}
    </div>
  <//>
`;

/** @param {{ratio: number}} props */
function Sign({ ratio }) {
  const [width, height] = [SIGN * Math.min(1, ratio), SIGN * Math.min(1, 1 / ratio)];
  return html`
    <svg width=${SIGN + 2} height=${SIGN + 2} aria-hidden="true">
      <rect x=${1 + (SIGN - width) / 2} y=${1 + (SIGN - height) / 2} width=${width} height=${height} rx="1" />
    </svg>
  `;
}

const Counts = () => html`
  <${FieldSet} legend="How many">
    <div class="segments">
      ${Array.from({ length: MOST_PICTURES }, (_, index) => index + 1).map(
        (count) => html`
          <label>
            <input
              type="radio"
              name="count"
              value=${count}
              checked=${draft.value.count === count}
              onChange=${() => change({ count })}
            />
            <span>${count}</span>
          </label>
        `,
      )}
    </div>
  <//>
`;

/** Say about how large the picture is going to be. */
function sizeText() {
  const side = parseFloat(chosenTier.value) * 1024;
  const stretch = Math.sqrt(ratioOf(draft.value.ratio));
  return side ? `about ${Math.round(side * stretch)} × ${Math.round(side / stretch)}` : "";
}

function seedText() {
  const { count } = draft.value;
  if (Number.isNaN(seed.value)) return "";
  if (seed.value === null) return count === 1 ? "" : "each gets its own";
  return count === 1 ? "the same seed makes the same picture" : `${seed.value} to ${seed.value + count - 1}`;
}
