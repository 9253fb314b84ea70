/** The catalogue: its filters, or the actions on the selection, and the pictures. */

import { NO_FILTERS, filter, filters } from "../state/address.js";
import { entries, isRead, problem, readAgain, total } from "../state/catalogue.js";
import { fill } from "../state/draft.js";
import { tasks } from "../state/jobs.js";
import { isSelecting, selectedEntries, startSelecting, stopSelecting } from "../state/selection.js";
import { html, useEffect, useRef } from "../view.js";
import { nameOf } from "../words.js";
import { openComposer } from "./composer.js";
import { Filters, isFiltered } from "./filters.js";
import { Grid } from "./grid.js";
import { Icon } from "./icon.js";
import { CancelAll } from "./in_progress.js";
import { SelectionBar } from "./selection_bar.js";

/** Requests that a newcomer may start from. @type {import("../api/types.js").Request[]} */
const IDEAS = [
  { scene_type: "marble", mood: "warm", dominant_colors: ["#f1e6d2", "#c9a66b"], aspect_ratio: "4:3" },
  { scene_type: "podium", mood: "soft", dominant_colors: ["#d9c2bd", "#f3ebe7"], aspect_ratio: "4:5" },
  { scene_type: "beach", mood: "bright", dominant_colors: ["#7fb3c8", "#e8d8b8"], aspect_ratio: "16:9" },
  { scene_type: "concrete", mood: "dramatic", dominant_colors: ["#4a4d52"], aspect_ratio: "1:1" },
];

export function Catalogue() {
  const isEmpty = isRead.value && entries.value.length === 0;
  const section = useRef(/** @type {HTMLElement | null} */ (null));
  const wanted = JSON.stringify(filters.value);
  const before = useRef(wanted);
  useEffect(() => {
    if (before.current === wanted) return;
    before.current = wanted;
    const top = section.current?.getBoundingClientRect().top ?? 0;
    if (top < 0) section.current?.scrollIntoView({ block: "start", behavior: "instant" });
  }, [wanted]);
  return html`
    <section class="catalogue landing" id="pictures" tabindex="-1" ref=${section} aria-labelledby="catalogue-title">
      <div class="toolbar">
        <div class="heading">
          <h2 id="catalogue-title">
            ${filters.value.archived ? "Archive " : "Catalogue "}
            ${isRead.value && html`<span class="count">${countText()}</span>`}
          </h2>
          <${CancelAll} />
          ${isFiltered(filters.value) &&
          html`<button type="button" class="small quiet" onClick=${() => filter(NO_FILTERS)}>Clear filters</button>`}
          ${(isSelecting.value || entries.value.length > 0) &&
          html`<button type="button" class="small" onClick=${isSelecting.value ? stopSelecting : startSelecting}>
            <${Icon} name="check" />${isSelecting.value ? "Done" : "Select"}
          </button>`}
        </div>
        ${isSelecting.value ? html`<${SelectionBar} />` : html`<${Filters} />`}
      </div>
      ${problem.value &&
      html`<p class="problem" role="alert">
        ${problem.value} <button type="button" class="small" onClick=${() => void readAgain()}>Try again</button>
      </p>`}
      <${Grid} />
      ${isEmpty && html`<${Empty} />`}
    </section>
  `;
}

function countText() {
  const all = total.value.toLocaleString();
  return isSelecting.value ? `${selectedEntries.value.length.toLocaleString()} of ${all} selected` : all;
}

function Empty() {
  if (isFiltered(filters.value)) return html`<${NothingFound} />`;
  // While a first picture is being made, its tile says enough.
  if (tasks.value.length) return null;
  return html`
    <div class="empty">
      <h3>Nothing here yet</h3>
      <p>Say what you want to see and press <b>Generate</b>. The picture stays here with its settings. Or start from one of these:</p>
      <div class="ideas">${IDEAS.map((idea) => html`<${Idea} idea=${idea} />`)}</div>
    </div>
  `;
}

/** @param {{idea: import("../api/types.js").Request}} props */
function Idea({ idea }) {
  const onUse = () => {
    fill(idea);
    openComposer();
  };
  return html`
    <button type="button" onClick=${onUse}>
      ${idea.dominant_colors?.map((color) => html`<span class="patch" style=${{ background: color }}></span>`)}
      ${nameOf(idea)} <small>${idea.aspect_ratio}</small>
    </button>
  `;
}

/** Say what was looked for: the search's words, if there are any, and whether filters are set. */
function sought() {
  const { q } = filters.value;
  const isMore = isFiltered({ ...filters.value, q: "", archived: false });
  if (!q) return isMore ? "is like that" : "is there";
  return html`fits the search “<bdi>${q}</bdi>”${isMore && " and the filters"}`;
}

const NothingFound = () => html`
  <div class="empty">
    <h3>Nothing fits</h3>
    <p>No picture${filters.value.archived ? " in the archive" : ""} ${sought()}.</p>
    <button type="button" onClick=${() => filter(NO_FILTERS)}>Show everything</button>
  </div>
`;
