/** The jobs that failed in the last day, with the reason and what was given back, until somebody has read them. */

import { fill } from "../state/draft.js";
import { dismiss, failures } from "../state/failures.js";
import { html, useState } from "../view.js";
import { nameOf, plural } from "../words.js";
import { openComposer } from "./composer.js";
import { Icon } from "./icon.js";

/** @typedef {import("../state/failures.js").Failure} Failure */

/** So many are shown at first. */
const FEW = 2;

export function Failures() {
  const [isWhole, showAll] = useState(false);
  const all = failures.value;
  if (all.length === 0) return null;
  const shown = isWhole ? all : all.slice(0, FEW);
  return html`
    <section class="failures" aria-labelledby="failures-title">
      <div class="heading">
        <h2 id="failures-title">Not made <span class="count">${all.length}</span></h2>
        ${all.length > FEW &&
        html`<button type="button" class="small" onClick=${() => showAll(!isWhole)}>${isWhole ? "Show fewer" : "Show all"}</button>`}
        <button type="button" class="small" onClick=${() => dismiss(all.map(({ id }) => id))}>
          ${all.length === 1 ? "Dismiss" : "Dismiss all"}
        </button>
      </div>
      <ul>
        ${shown.map((failure) => html`<${Row} key=${failure.id} failure=${failure} />`)}
      </ul>
      ${!isWhole && all.length > FEW && html`<p class="hint">and ${plural(all.length - FEW, "more")}</p>`}
    </section>
  `;
}

/** @param {{failure: Failure}} props */
function Row({ failure: { id, request, why, at } }) {
  const name = nameOf(request);
  const onUse = () => {
    fill({ ...request, seed: null });
    openComposer();
  };
  return html`
    <li>
      <span class="name" title=${name}>${name}</span>
      <span class="why">${why}</span>
      <time dateTime=${at}>${new Date(at).toLocaleTimeString([], { timeStyle: "short" })}</time>
      <button type="button" class="small" aria-label=${`Use settings of ${name}`} onClick=${onUse}>Use settings</button>
      <button type="button" class="quiet square" aria-label=${`Dismiss ${name}`} onClick=${() => dismiss([id])}>
        <${Icon} name="close" />
      </button>
    </li>
  `;
}
