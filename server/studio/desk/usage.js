/** The usage of clients, day by day. */

import { html, useState } from "../view.js";
import { days, usage } from "./state.js";
import { Bars } from "./plot.js";
import { Table } from "./table.js";
import { number } from "./words.js";

/** @typedef {"credits_spent" | "images" | "jobs" | "failed"} Measure */

/** @type {[Measure, string][]} */
const MEASURES = [
  ["credits_spent", "Credits"],
  ["images", "Images"],
  ["jobs", "Jobs"],
  ["failed", "Failures"],
];
/** How many clients have a colour of their own; the others share one. */
const TOLD_APART = 6;

export function Usage() {
  const [measure, choose] = useState(/** @type {Measure} */ ("credits_spent"));
  const sums = byClient();
  const ranked = [...sums.values()].sort((one, other) => other[measure] - one[measure]);
  const toldApart = ranked.slice(0, TOLD_APART).map((row) => row.client);
  const others = ranked.slice(TOLD_APART).map((row) => row.client);
  const bars = toldApart.map((client) => ({ name: client, clients: [client] }));
  if (others.length) bars.push({ name: `${number(others.length)} more`, clients: others });
  return html`
    <section aria-labelledby="usage">
      <div class="heading">
        <h2 id="usage">The last 30 days</h2>
        <fieldset class="segments">
          <legend class="unseen">What to count</legend>
          ${MEASURES.map(
            ([name, label]) => html`
              <label>
                <input type="radio" name="measure" checked=${measure === name} onChange=${() => choose(name)} />
                <span>${label}</span>
              </label>
            `,
          )}
        </fieldset>
      </div>
      <${Bars}
        days=${days()}
        names=${bars.map(({ name }) => name)}
        value=${(/** @type {string} */ day, /** @type {number} */ index) => sum(day, bars[index]?.clients ?? [], measure)}
        label=${MEASURES.find(([name]) => name === measure)?.[1] ?? ""}
      />
      <${Table}
        caption="Usage by client"
        columns=${["Client", "Credits", "Given back", "Images", "Jobs", "Cancelled", "Failures"]}
        numbers=${[1, 2, 3, 4, 5, 6]}
        empty="No jobs in these days."
        rows=${ranked.map(
          (row) => html`
            <tr key=${row.client}>
              <td>${row.client}</td>
              <td class="number">${number(row.credits_spent)}</td>
              <td class="number">${number(row.credits_refunded)}</td>
              <td class="number">${number(row.images)}</td>
              <td class="number">${number(row.jobs)}</td>
              <td class="number">${number(row.cancelled)}</td>
              <td class="number">${number(row.failed)}</td>
            </tr>
          `,
        )}
      />
    </section>
  `;
}

/**
 * @param {string} day
 * @param {string[]} names  of clients
 * @param {Measure} measure
 */
const sum = (day, names, measure) =>
  usage.value
    .filter((row) => row.day === day && names.includes(row.client ?? ""))
    .reduce((total, row) => total + row[measure], 0);

function byClient() {
  /** @type {Map<string, {client: string, credits_spent: number, credits_refunded: number, images: number, jobs: number, cancelled: number, failed: number}>} */
  const sums = new Map();
  for (const row of usage.value) {
    const client = row.client ?? "";
    const before = sums.get(client) ?? { client, credits_spent: 0, credits_refunded: 0, images: 0, jobs: 0, cancelled: 0, failed: 0 };
    sums.set(client, {
      client,
      credits_spent: before.credits_spent + row.credits_spent,
      credits_refunded: before.credits_refunded + row.credits_refunded,
      images: before.images + row.images,
      jobs: before.jobs + row.jobs,
      cancelled: before.cancelled + row.cancelled,
      failed: before.failed + row.failed,
    });
  }
  return sums;
}
