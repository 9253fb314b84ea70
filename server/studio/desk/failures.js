/** The jobs that failed last, each with its lines of the logs. */

import { html } from "../view.js";
import { failures } from "./state.js";
import { moment, number } from "./words.js";

export const Failures = () => html`
  <section aria-labelledby="failures">
    <h2 id="failures">Recent failures</h2>
    ${failures.value.length === 0 && html`<p class="empty">No job has failed. Cancelled jobs are not failures.</p>`}
    <ul class="failures">
      ${failures.value.map((failure) => html`<${OneFailure} key=${failure.job.public_id} failure=${failure} />`)}
    </ul>
  </section>
`;

/** @param {{failure: import("../openapi.js").Failure}} props */
const OneFailure = ({ failure: { job, log } }) => html`
  <li class="card">
    <p class="card-title"><strong>${job.reason}</strong><span>${moment(job.ended_at ?? job.created_at)}</span></p>
    <p>${job.message}</p>
    <p class="hint">
      ${job.display_name}, of ${job.client}, on ${job.model}; ${number(job.refunded)} credits given back; <code>${job.public_id}</code>
    </p>
    ${log.length > 0 &&
    html`
      <details>
        <summary>${log.length === 1 ? "1 line" : `${log.length} lines`} of the logs</summary>
        <pre tabindex="0">${log.map((line) => `${line.file}: ${line.text}`).join("\n")}</pre>
      </details>
    `}
  </li>
`;
