/** One picture of the catalogue. */

import { openPicture } from "../state/address.js";
import { unseen } from "../state/catalogue.js";
import { favour, favourByKey, isSelecting, remove, selected, stopSelecting, toggle } from "../state/selection.js";
import { html } from "../view.js";
import { isolated, numberText, placeOf } from "../words.js";
import { Icon } from "./icon.js";
import { Picture } from "./picture.js";

/** @typedef {import("../api/types.js").Entry} Entry */

/** The most pixels that a character of a caption takes, and the mean pixels of one of a mark in small type. */
const CHARACTER = 9;
const SMALL_CHARACTER = 7.2;

/**
 * Return what tells an entry apart from others of the same words: which of its order it is, else its seed.
 * @param {Entry} entry
 */
export function markOf(entry) {
  const place = placeOf(entry);
  return place ? numberText(place) : `seed ${entry.seed}`;
}

/**
 * Return the mark, without the word "seed" if there is no room for it.
 * @param {Entry} entry
 * @param {number} width  pixels
 */
function shortMarkOf(entry, width) {
  const mark = markOf(entry);
  return mark.length * SMALL_CHARACTER > width ? mark.replace("seed ", "") : mark;
}

/** @param {Entry} entry */
export const labelOf = (entry) => `${isolated(entry.spec.display_name)}, ${markOf(entry)}`;

/** Show the name and, below it, the mark, which is never cut. @param {{entry: Entry}} props */
export const Label = ({ entry }) => html`<bdi>${entry.spec.display_name}</bdi><small>${markOf(entry)}</small>`;

/**
 * The sizes are the picture's; the text is below it.
 * @param {{entry: Entry, left: number, top: number, width: number, height: number, index: number, count: number,
 *   isActive: boolean}} props
 */
export function Tile({ entry, left, top, width, height, index, count, isActive }) {
  const id = entry.public_id;
  const isSelected = selected.value.has(id);
  const isNew = unseen.value.has(id);
  const label = labelOf(entry);
  const mark = shortMarkOf(entry, width);
  const isCrowded = mark.length * CHARACTER > width;
  const isTight = isCrowded && mark.length * SMALL_CHARACTER > width;
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
    else if (event.key.toLowerCase() === "f") favourByKey(entry);
    else if (event.key === "Delete") remove([entry]);
    else if (event.key === "Escape") stopSelecting();
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
      style=${{ left: `${left}px`, top: `${top}px`, width: `${width}px` }}
      onKeyDown=${onKeyDown}
    >
      <button
        type="button"
        class="open"
        tabindex=${tab}
        aria-label=${`${label}${isNew ? ", new" : ""}`}
        style=${{ height: `${height}px` }}
        onClick=${onOpen}
      >
        <${Picture} entry=${entry} size="thumbnail" across=${width} />
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
      <p class=${["caption", isCrowded && "crowded", isTight && "tight"].filter(Boolean).join(" ")} title=${label}>
        ${isNew && html`<span class="new-dot" title="New"></span>`}
        <bdi class="name">${entry.spec.display_name}</bdi>
        <small>${mark}</small>
      </p>
    </div>
  `;
}
