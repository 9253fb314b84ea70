/** The place of a picture: whole and never larger than it is, or at a size that was chosen. */

import { html, signal, useRef } from "../view.js";
import { labelOf } from "./tile.js";
import { Picture } from "./picture.js";

/** @typedef {"fit" | "1" | "2" | "fill"} Zoom */

/** @type {[Zoom, string, string][]} */
const ZOOMS = [
  ["fit", "Fit", "Whole, and at most its own size"],
  ["1", "100 %", "One pixel of the picture for each of the page"],
  ["2", "200 %", "Twice its size"],
  ["fill", "Fill", "Whole, and as large as there is room"],
];

/** The chosen size, which stays from one picture to the next. @type {import("../vendor/signals.js").Signal<Zoom>} */
export const zoom = signal("fit");

/** @param {{entry: import("../api/types.js").Entry}} props */
export function Stage({ entry }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { spec } = entry;
  const words = [spec.scene_type, spec.mood].filter(Boolean).join(", ") || spec.prompt;
  const onDoubleClick = () => void (zoom.value = zoom.value === "fit" ? "1" : "fit");
  return html`
    <div class=${`stage ${zoom.value}`} ref=${box} onDblClick=${onDoubleClick}>
      <div class="holder" tabindex=${zoom.value === "fit" || zoom.value === "fill" ? undefined : 0}>
        <${Picture} entry=${entry} size="whole" alt=${`${labelOf(entry)}: ${words ?? ""}`} style=${sizeOf(entry)} />
      </div>
      <${Zooms} />
    </div>
  `;
}

/**
 * @param {import("../api/types.js").Entry} entry
 * @returns {Record<string, string>}
 */
export function sizeOf({ width, height }) {
  const times = zoom.value === "2" ? 2 : 1;
  return { "--width": `${width * times}px`, "--height": `${height * times}px`, "--ratio": String(width / height) };
}

export const Zooms = () => html`
  <fieldset class="segments zooms">
    <legend class="unseen">Size</legend>
    ${ZOOMS.map(
      ([value, label, says]) => html`
        <label title=${says}>
          <input type="radio" name="zoom" checked=${zoom.value === value} onChange=${() => (zoom.value = value)} />
          <span>${label}</span>
        </label>
      `,
    )}
  </fieldset>
`;
