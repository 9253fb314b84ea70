/** The measurements of a picture: its main colours, and how near they come to those that were asked for. */

import { html } from "../view.js";

/** Bounds of ΔE, which says how different two colours look, and what to say below each. @type {[number, string][]} */
const VERDICTS = [
  [2, "a match"],
  [10, "close"],
  [20, "some way off"],
  [Infinity, "another colour"],
];

/** @param {{found: import("../api/types.js").Evaluation}} props */
export function Measured({ found }) {
  const words = found.dominant.map(({ color, share }) => `${color} ${percent(share)}`);
  return html`
    <h3>Measured colours</h3>
    <div class="shares" role="img" aria-label=${`Main colours: ${words.join(", ")}`}>
      ${found.dominant.map(
        ({ color, share }) =>
          html`<span title=${`${color}, ${percent(share)}`} style=${{ background: color, flexGrow: String(share) }}></span>`,
      )}
    </div>
    <ul class="palette">
      ${found.palette.map((pair) => html`<${Pair} ...${pair} />`)}
    </ul>
    <p class="hint">
      Sharpness ${found.sharpness.toFixed(0)} · contrast ${percent(found.contrast)} · clipped${" "}
      ${percent(found.clipped_black)} black, ${percent(found.clipped_white)} white
    </p>
  `;
}

/** @param {import("../api/types.js").Evaluation["palette"][number]} props */
function Pair({ requested, nearest, delta_e, share }) {
  const verdict = VERDICTS.find(([most]) => delta_e < most)?.[1] ?? "";
  return html`
    <li>
      <span class="pairing"><span style=${{ background: requested }}></span><span style=${{ background: nearest }}></span></span>
      <span>
        ${requested} asked, ${nearest} found<br />
        <small>${verdict}: ΔE ${delta_e.toFixed(1)}, on ${percent(share)} of the area</small>
      </span>
    </li>
  `;
}

/** @param {number} part */
const percent = (part) => `${(100 * part).toFixed(part < 0.01 && part > 0 ? 1 : 0)} %`;
