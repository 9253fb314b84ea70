/** The jobs that failed in the last day, with the reason and the credits given back, until the user dismisses them. */

import * as calls from "../api/calls.js";
import { fill } from "../state/draft.js";
import { dismiss, failures } from "../state/failures.js";
import { sendAgain } from "../state/order.js";
import { modelOf, models } from "../state/session.js";
import { html, useState } from "../view.js";
import { mayGoWell, nameOf, plural } from "../words.js";
import { openComposer } from "./composer.js";
import { Icon } from "./icon.js";
import { useOffer } from "./offer.js";

/** @typedef {import("../state/failures.js").Failure} Failure */

/** How many are shown at first. */
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
      ${!isWhole && all.length > FEW && html`<p class="hint">and ${all.length - FEW} more</p>`}
    </section>
  `;
}

/** @param {{failure: Failure}} props */
function Row({ failure }) {
  const { id, request, reason, why, at } = failure;
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
      <div class="remedies">
        ${mayGoWell(reason, request) && html`<${TryAgain} failure=${failure} name=${name} />`}
        <button type="button" class="small" aria-label=${`Use settings of ${name}`} onClick=${onUse}>Use settings</button>
      </div>
      <button type="button" class="quiet square" aria-label=${`Dismiss ${name}`} onClick=${() => dismiss([id])}>
        <${Icon} name="close" />
      </button>
    </li>
  `;
}

/** Offer a new job of the same settings, if the server would take it. @param {{failure: Failure, name: string}} props */
function TryAgain({ failure, name }) {
  const { cost, isSending, order } = useOffer(
    () => calls.estimateRetry(failure.id),
    (shown) => sendAgain(failure, shown),
  );
  if (cost === null) return null;
  const terms = [plural(cost, "credit"), models.value.length > 1 && modelOf(failure.request)].filter(Boolean).join(", ");
  const onClick = async () => {
    if (await order()) dismiss([failure.id]);
  };
  return html`
    <button type="button" class="small" aria-disabled=${isSending} aria-label=${`Try again ${terms}: ${name}`} onClick=${onClick}>
      Try again <small>${terms}</small>
    </button>
  `;
}
