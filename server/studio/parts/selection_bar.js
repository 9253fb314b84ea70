/** What can be done with the selected pictures. */

import * as calls from "../api/calls.js";
import { filters, openComparison } from "../state/address.js";
import { entries, total } from "../state/catalogue.js";
import { MOST_ARCHIVED, favour, move, remove, selectAll, selectedEntries, stopSelecting } from "../state/selection.js";
import { tell } from "../state/toasts.js";
import { html, useState } from "../view.js";
import { explain, plural } from "../words.js";
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
      <strong>${plural(chosen.length, "picture")} selected</strong>
      ${entries.value.length > chosen.length &&
      html`<button type="button" class="small quiet" onClick=${selectAll}>Select ${entries.value.length < total.value ? "all shown" : "all"}</button>`}
      <button
        type="button"
        class="small"
        disabled=${ids.length !== 2}
        title=${ids.length === 2 ? "" : "Select two pictures to compare them"}
        onClick=${() => openComparison(ids)}
      >
        <${Icon} name="compare" />Compare
      </button>
      <${Zip} ids=${ids} />
      <button type="button" class="small" disabled=${isNone} onClick=${() => void favour(chosen, !areFavourites)}>
        <${Icon} name="star" />${areFavourites ? "No favourites" : "Favourite"}
      </button>
      <button type="button" class="small" disabled=${isNone} onClick=${() => void move(chosen, isArchive ? "active" : "archived")}>
        <${Icon} name="archive" />${isArchive ? "Back to the catalogue" : "Archive"}
      </button>
      <button type="button" class="small" disabled=${isNone} onClick=${() => remove(chosen)}><${Icon} name="trash" />Delete</button>
      <button type="button" class="small quiet" onClick=${stopSelecting}>Done</button>
    </div>
  `;
}

/** @param {{ids: string[]}} props */
function Zip({ ids }) {
  const [isBusy, setBusy] = useState(false);
  const isTooMany = ids.length > MOST_ARCHIVED;
  const isNone = ids.length === 0;
  const onClick = async () => {
    setBusy(true);
    try {
      save(await calls.archive(ids), `backlot-${ids.length}-pictures.zip`);
    } catch (error) {
      tell(explain(error), { wrong: true });
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
