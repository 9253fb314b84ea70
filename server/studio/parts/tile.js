/** One picture of the catalogue. */

import { openPicture } from "../state/address.js";
import { unseen } from "../state/catalogue.js";
import { favour, isSelecting, remove, selected, toggle } from "../state/selection.js";
import { html } from "../view.js";
import { isVariation, numberText, numbered } from "../words.js";
import { Icon } from "./icon.js";
import { Picture } from "./picture.js";

/**
 * @typedef {import("../api/types.js").Entry} Entry
 * @typedef {{left: number, top: number, width: number, height: number}} Box  the picture's; the text is below
 */

/**
 * Return what tells an entry apart from others of the same words: which of its order it is, else its seed.
 * @param {Entry} entry
 */
export const markOf = ({ spec, seed }) =>
  isVariation(spec.metadata.studio) ? numberText(spec.metadata.studio) : `seed ${seed}`;

/** @param {Entry} entry */
export const labelOf = (entry) => {
  const { spec, seed } = entry;
  const name = numbered(spec.display_name, spec.metadata.studio);
  return isVariation(spec.metadata.studio) ? name : `${name}, seed ${seed}`;
};

/** @param {{entry: Entry, box: Box, index: number, count: number, isActive: boolean}} props */
export function Tile({ entry, box, index, count, isActive }) {
  const id = entry.public_id;
  const isSelected = selected.value.has(id);
  const isNew = unseen.value.has(id);
  const label = labelOf(entry);
  const tab = isActive ? 0 : -1;
  /** @param {MouseEvent} event */
  const onOpen = (event) => {
    if (event.shiftKey || event.ctrlKey || event.metaKey || isSelecting.value) toggle(id, event.shiftKey);
    else openPicture(id);
  };
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.toLowerCase() === "x") toggle(id, event.shiftKey);
    else if (event.key.toLowerCase() === "f") void favour([entry], !entry.favourite);
    else if (event.key === "Delete") remove([entry]);
    else return;
    event.preventDefault();
  };
  const classes = ["tile", isSelected && "selected", entry.favourite && "favourite"].filter(Boolean).join(" ");
  return html`
    <div
      class=${classes}
      role="listitem"
      aria-setsize=${count}
      aria-posinset=${index + 1}
      data-index=${index}
      data-id=${id}
      style=${{ transform: `translate(${box.left}px, ${box.top}px)`, width: `${box.width}px` }}
      onKeyDown=${onKeyDown}
    >
      <button
        type="button"
        class="open"
        tabindex=${tab}
        aria-label=${`${label}${isNew ? ", new" : ""}`}
        style=${{ height: `${box.height}px` }}
        onClick=${onOpen}
      >
        <${Picture} entry=${entry} size="thumbnail" />
      </button>
      <label class="select">
        <input
          type="checkbox"
          tabindex=${tab}
          checked=${isSelected}
          aria-label=${`Select ${label}`}
          onClick=${(/** @type {MouseEvent} */ event) => toggle(id, event.shiftKey)}
        />
      </label>
      <button
        type="button"
        class="star"
        tabindex=${tab}
        aria-label=${`Favourite ${label}`}
        aria-pressed=${entry.favourite}
        onClick=${() => void favour([entry], !entry.favourite)}
      >
        <${Icon} name="star" />
      </button>
      <p class="caption" title=${entry.spec.display_name}>
        ${isNew && html`<span class="new-dot" title="New"></span>`}
        <span class="name">${entry.spec.display_name}</span><small class=${isVariation(entry.spec.metadata.studio) ? "number" : ""}>${markOf(entry)}</small>
      </p>
    </div>
  `;
}
