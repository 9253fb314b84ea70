/** The actions on the selected pictures. */

import * as calls from "../api/calls.js";
import { filters, openComparison } from "../state/address.js";
import { entries, total } from "../state/catalogue.js";
import { MOST_ARCHIVED, favour, move, orderedTogether, remove, selectAll, selectOrderedTogether, selectedEntries } from "../state/selection.js";
import { tellError } from "../state/toasts.js";
import { html, useState } from "../view.js";
import { Icon } from "./icon.js";
import { save } from "./save.js";

export function SelectionBar() {
  const chosen = selectedEntries.value;
  const isArchive = filters.value.archived;
  const isNone = chosen.length === 0;
  const areFavourites = !isNone && chosen.every((entry) => entry.favourite);
  const ids = chosen.map((entry) => entry.public_id);
  return html`
    <div class="filters selection" role="toolbar" aria-label="With the selected pictures">
      <button
        type="button"
        class="small"
        disabled=${ids.length !== 2}
        title=${ids.length === 2 ? "" : "Select two pictures to compare them"}
        onClick=${() => openComparison(ids)}
      >
        <${Icon} name="compare" />Compare
      </button>
      <${Zip} chosen=${chosen} />
      <button type="button" class="small" disabled=${isNone} onClick=${() => void favour(chosen, !areFavourites)}>
        <${Icon} name="star" />${areFavourites ? "No favourites" : "Favourite"}
      </button>
      <button type="button" class="small" disabled=${isNone} onClick=${() => void move(chosen, isArchive ? "active" : "archived")}>
        <${Icon} name="archive" />${isArchive ? "Back to the catalogue" : "Archive"}
      </button>
      <button type="button" class="small" disabled=${isNone} onClick=${() => remove(chosen)}><${Icon} name="trash" />Delete</button>
      ${entries.value.length > chosen.length &&
      html`<button type="button" class="small quiet" onClick=${selectAll}>Select ${entries.value.length < total.value ? "all shown" : "all"}</button>`}
      ${orderedTogether.value.length > 0 &&
      html`<button type="button" class="small quiet" title="All that was ordered together with it" onClick=${selectOrderedTogether}>Select its order</button>`}
    </div>
  `;
}

/**
 * Return pictures in the order in which they were ordered: in a zip, files of one name are numbered in it.
 * @param {readonly import("../api/types.js").Entry[]} chosen
 */
const asOrdered = (chosen) =>
  [...chosen].sort((a, b) =>
    a.generation_job_public_id === b.generation_job_public_id
      ? a.number - b.number
      : a.generation_job_public_id < b.generation_job_public_id ? -1 : 1,
  );

/** @param {{chosen: readonly import("../api/types.js").Entry[]}} props */
function Zip({ chosen }) {
  const ids = asOrdered(chosen).map((entry) => entry.public_id);
  const [isBusy, setBusy] = useState(false);
  const isTooMany = ids.length > MOST_ARCHIVED;
  const isNone = ids.length === 0;
  const onClick = async () => {
    setBusy(true);
    try {
      save(await calls.archive(ids), `backlot-${ids.length}-pictures.zip`);
    } catch (error) {
      tellError(error);
    } finally {
      setBusy(false);
    }
  };
  return html`
    <button
      type="button"
      class="small"
      disabled=${isBusy || isTooMany || isNone}
      title=${isTooMany ? `At most ${MOST_ARCHIVED} at once` : "The pictures and a table of their settings"}
      onClick=${onClick}
    >
      <${Icon} name="download" />${isBusy ? "Packing …" : "Download zip"}
    </button>
  `;
}
