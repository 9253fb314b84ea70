/** The credits that were spent: today, this month, and on what. */

import * as calls from "../api/calls.js";
import { credits } from "../state/session.js";
import { html, useRef, useState } from "../view.js";
import { explain, plural } from "../words.js";
import { useAnswer } from "./answer.js";
import { useCloseOutside } from "./close_outside.js";

const SHOWN = 20;

/** @typedef {{today: import("../api/types.js").Usage, month: import("../api/types.js").Usage, items: import("../api/types.js").TransactionPage["items"]}} Spending */

/** @param {{onClose: () => void}} props */
export function Account({ onClose }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [spending, show] = useState(/** @type {Spending | null} */ (null));
  const [problem, say] = useState("");
  const balance = credits.value?.balance;
  useAnswer(read, show, (error) => say(explain(error)), [balance]);
  useCloseOutside(() => box.current?.parentElement, true, onClose);
  return html`
    <section class="panel-menu account" ref=${box} aria-label="Credits">
      ${problem && html`<p class="problem">${problem}</p>`}
      ${spending && html`<${Summary} ...${spending} />`}
      <h2>Latest</h2>
      <ul class="spendings" tabindex="0" aria-label="Latest entries">
        ${spending?.items.map((item) => html`<${Item} key=${item.id} ...${item} />`)}
      </ul>
    </section>
  `;
}

/** @returns {Promise<Spending>} */
async function read() {
  const now = new Date();
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const first = new Date(now.getFullYear(), now.getMonth(), 1);
  const [today, month, { items }] = await Promise.all([
    calls.usage(midnight.toISOString()),
    calls.usage(first.toISOString()),
    calls.transactions(SHOWN),
  ]);
  return { today, month, items };
}

/** @param {Spending} props */
const Summary = ({ today, month }) => html`
  <dl class="sums">
    <dt>Left</dt>
    <dd>${plural(credits.value?.balance ?? 0, "credit")}</dd>
    <dt>Spent today</dt>
    <dd>${plural(today.credits_spent, "credit")}<small>${plural(today.images, "picture")}</small></dd>
    <dt>This month</dt>
    <dd>${plural(month.credits_spent, "credit")}<small>${plural(month.images, "picture")}</small></dd>
    <dt>Given back, ever</dt>
    <dd>${plural(credits.value?.refunded ?? 0, "credit")}</dd>
  </dl>
`;

/** @param {import("../api/types.js").TransactionPage["items"][number]} props */
function Item({ label, credits_delta, status, created_at }) {
  const sum = status === "REFUNDED" ? "given back" : `${credits_delta > 0 ? "+" : ""}${credits_delta}`;
  // Show the name alone: it says more than the operation before it.
  const name = label.includes(": ") ? label.slice(label.indexOf(": ") + 2) : label;
  return html`
    <li>
      <bdi class="what" title=${label}>${name}</bdi>
      <time dateTime=${created_at}>${new Date(created_at).toLocaleString([], { dateStyle: "short", timeStyle: "short" })}</time>
      <span class="sum">${sum}</span>
    </li>
  `;
}
