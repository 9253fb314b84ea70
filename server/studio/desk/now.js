/** The view of the present moment: devices, the queue, models, the disk. */

import { html } from "../view.js";
import { change, devices, disk, models, queue } from "./state.js";
import { Careful, Table } from "./table.js";
import { age, number, percent, size } from "./words.js";

export const Now = () => html`<${Devices} /><${Queue} /><div class="halves"><${Models} /><${DiskUse} /></div>`;

const Devices = () => html`
  <section aria-labelledby="devices">
    <h2 id="devices">Devices</h2>
    <ul class="cards">
      ${devices.value.map((device, index) => html`<${Device} key=${index} device=${device} />`)}
    </ul>
  </section>
`;

/** @param {{device: import("../openapi.js").DeviceView}} props */
function Device({ device }) {
  const { batch } = device;
  const work = batch ? `${batch.model}, ${batch.width} × ${batch.height}, ${batch.steps} steps` : "Nothing to do";
  return html`
    <li class="card">
      <p class="card-title"><strong>${device.name || "Device"}</strong><span class=${`state ${device.state}`}>${device.state}</span></p>
      <p class="hint">${device.device_name || "its process is not up"}${device.pid ? `, process ${device.pid}` : ""}</p>
      <p>${device.loading ? `Loading ${device.loading}` : work}</p>
      ${batch &&
      html`<p class="slots">
        <meter min="0" max=${device.slots} value=${device.images_in_slots} aria-label="Slots in use"></meter>
        ${device.images_in_slots} of ${device.slots} slots
      </p>`}
      <p class="hint">
        ${device.models.length
          ? device.models.map((model) => (model.bytes ? `${model.name} ${size(model.bytes)}` : model.name)).join(", ")
          : "No model in memory"}
      </p>
      ${device.memory_used_bytes !== null &&
      device.memory_total_bytes !== null &&
      html`<p class="slots">
        <meter min="0" max=${device.memory_total_bytes} high=${device.memory_total_bytes * 0.95} value=${device.memory_used_bytes} aria-label="Memory in use"></meter>
        ${size(device.memory_used_bytes)} of ${size(device.memory_total_bytes)}
      </p>`}
      <p class="hint">${number(device.images_generated)} images since the start of the server</p>
      ${device.reason && html`<p class="problem">${device.reason}</p>`}
      ${device.crashes > 0 && html`<p class="problem">Crashed ${device.crashes} times since its last image</p>`}
    </li>
  `;
}

function Queue() {
  const page = queue.value;
  if (!page) return null;
  const { state, jobs, total } = page;
  return html`
    <section aria-labelledby="queue">
      <div class="heading">
        <h2 id="queue">Queue</h2>
        ${state.paused_at && html`<p class="hint">Paused for ${age(state.paused_at)}: jobs are taken, and none is sent to a device</p>`}
        ${state.paused_at
          ? html`<button type="button" class="primary" onClick=${() => change("queue/resume")}>Resume</button>`
          : html`<button type="button" onClick=${() => change("queue/pause")}>Pause</button>`}
      </div>
      <${Table}
        caption="Jobs that have not ended"
        columns=${["Place", "Job", "Client", "Model", "Images", "Progress", "Accepted", ""]}
        numbers=${[0, 4]}
        empty="Nothing waits and nothing runs."
        rows=${jobs.map((row) => html`<${QueueRow} key=${row.job.public_id} row=${row} />`)}
      />
      ${total > jobs.length && html`<p class="hint">and ${number(total - jobs.length)} more</p>`}
    </section>
  `;
}

/** @param {{row: import("../openapi.js").QueuedJob}} props */
function QueueRow({ row }) {
  const { job } = row;
  const place = row.queue_position === null ? "runs" : number(row.queue_position + 1);
  return html`
    <tr>
      <td class="number">${place}${row.front && html` <span class="badge" title="Moved to the front">front</span>`}</td>
      <td><span class="clip">${job.display_name}</span><small><code>${job.public_id}</code></small></td>
      <td>${job.client}</td>
      <td>${job.model}</td>
      <td class="number">${row.images_generated} of ${job.images}</td>
      <td class="whole">${row.ending ? "ending" : html`<progress max="1" value=${row.progress} aria-label=${`Progress of ${job.display_name}`}></progress> ${percent(row.progress)}`}</td>
      <td class="whole">${age(job.created_at)} ago</td>
      <td class="actions">
        ${row.images_waiting > 0 &&
        html`<button
          type="button"
          class="small"
          aria-label=${`To front: ${job.display_name}`}
          onClick=${() => change(`jobs/${job.public_id}/front`)}
        >
          To front
        </button>`}
        <${Careful}
          label="Cancel"
          on=${job.display_name}
          sure=${`Cancel "${job.display_name}" of ${job.client}? ${number(job.credits_cost)} credits are given back.`}
          act=${() => change(`jobs/${job.public_id}/cancel`)}
        />
      </td>
    </tr>
  `;
}

const Models = () => html`
  <section aria-labelledby="models">
    <h2 id="models">Models</h2>
    <${Table}
      caption="Models"
      columns=${["Model", "State", "Memory", ""]}
      numbers=${[2]}
      empty="models.toml has no models."
      rows=${models.value.map((model) => html`<${ModelRow} key=${model.name} model=${model} />`)}
    />
  </section>
`;

/** @param {{model: import("../openapi.js").ModelStanding}} props */
const ModelRow = ({ model }) => html`
  <tr>
    <td>
      ${model.name}${model.default && html` <span class="badge">default</span>`}${model.pinned && html` <span class="badge">pinned</span>`}
      ${model.error && html`<small class="problem">${model.error}</small>`}
    </td>
    <td>
      <span class=${`state ${model.state}`}>${model.state}</span>${model.devices.length > 0 && html` <small>${model.devices.join(", ")}</small>`}
    </td>
    <td class="number">${model.bytes === null ? "" : size(model.bytes)}</td>
    <td class="actions">
      ${(model.state === "idle" || model.state === "failed") &&
      html`<${Order} name=${model.name} label="Load" />`}
      ${model.state === "loaded" &&
      html`<${Order} name=${model.name} label="Unload" />`}
    </td>
  </tr>
`;

/** @param {{name: string, label: "Load" | "Unload"}} props */
const Order = ({ name, label }) => html`
  <button
    type="button"
    class="small"
    aria-label=${`${label} ${name}`}
    onClick=${() => change(`models/${encodeURIComponent(name)}/${label.toLowerCase()}`)}
  >
    ${label}
  </button>
`;

function DiskUse() {
  const found = disk.value;
  if (!found) return null;
  const used = found.total_bytes - found.free_bytes;
  return html`
    <section aria-labelledby="disk">
      <h2 id="disk">Disk</h2>
      <p><meter class="wide" min="0" max=${found.total_bytes} high=${found.total_bytes * 0.9} value=${used} aria-label="Disk in use"></meter></p>
      <p>${size(found.free_bytes)} free of ${size(found.total_bytes)}</p>
      <dl class="facts">
        <dt>Images</dt><dd>${size(found.images.bytes)} in ${number(found.images.files)} files</dd>
        <dt>Database</dt><dd>${size(found.database_bytes)}</dd>
        <dt>Logs</dt><dd>${size(found.logs.bytes)}</dd>
        <dt>Folder</dt><dd><code>${found.data_folder}</code></dd>
      </dl>
    </section>
  `;
}
