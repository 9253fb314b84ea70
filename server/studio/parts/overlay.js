/** Two pictures in one place, with an edge between them that is moved over what differs. */

import { html, useRef } from "../view.js";
import { Picture } from "./picture.js";
import { Label, labelOf } from "./tile.js";

/** @typedef {import("../api/types.js").Entry} Entry */

/** @param {{one: Entry, other: Entry}} props */
export function Overlay({ one, other }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  /** @param {{currentTarget: HTMLInputElement}} event */
  const onInput = ({ currentTarget }) => box.current?.style.setProperty("--edge", `${currentTarget.value}%`);
  return html`
    <figure class="overlay">
      <div class="overlaid" ref=${box} style=${{ "--ratio": String(one.width / one.height) }}>
        <${Picture} entry=${one} size="whole" alt=${labelOf(one)} />
        <${Picture} entry=${other} size="whole" alt=${labelOf(other)} />
      </div>
      <figcaption>
        <span class="name"><${Label} entry=${one} /></span>
        <input type="range" min="0" max="100" defaultValue="50" aria-label="Edge between the two pictures" onInput=${onInput} />
        <span class="name"><${Label} entry=${other} /></span>
      </figcaption>
    </figure>
  `;
}
