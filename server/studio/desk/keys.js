/** The keys by which clients are known. */

import { html, useState } from "../view.js";
import { Shown } from "./shown.js";
import { change, clients, keys, revoke } from "./state.js";
import { Careful, Table } from "./table.js";
import { minute, moment } from "./words.js";

const CAPABILITIES = ["jobs:create", "jobs:read", "admin"];

export function Keys() {
  const [made, show] = useState(/** @type {import("../openapi.js").MadeKey | null} */ (null));
  const [withRevoked, choose] = useState(false);
  const shown = keys.value.filter((key) => withRevoked || !key.revoked_at);
  return html`
    <section aria-labelledby="keys">
      <div class="heading">
        <h2 id="keys">Keys</h2>
        <label class="check"><input type="checkbox" checked=${withRevoked} onChange=${() => choose(!withRevoked)} /> Show revoked</label>
      </div>
      <${NewKey} onMade=${show} />
      ${made && html`<${Shown} text=${`A key of ${made.client}`} secret=${made.key} onClose=${() => show(null)} />`}
      <${Table}
        caption="Keys"
        columns=${["Key", "Client", "Label", "May", "Priority", "Made", "Expires", ""]}
        numbers=${[4]}
        empty="There are no keys."
        rows=${shown.map((key) => html`<${KeyRow} key=${key.key + key.created_at} key_=${key} />`)}
      />
    </section>
  `;
}

/** @param {{key_: import("../openapi.js").KeyReport}} props */
function KeyRow({ key_ }) {
  const isOver = key_.expires_at !== null && new Date(key_.expires_at) <= new Date();
  return html`
    <tr class=${key_.revoked_at || isOver ? "over" : ""}>
      <td><code>${key_.key}…</code></td>
      <td>${key_.client}</td>
      <td>${key_.label}</td>
      <td>${key_.capabilities.join(", ")}</td>
      <td class="number">${key_.priority}</td>
      <td>${moment(key_.created_at)}</td>
      <td>${key_.expires_at ? minute(key_.expires_at) : "never"}${isOver && html` <span class="flag">expired</span>`}</td>
      <td class="actions">
        ${key_.revoked_at
          ? html`<span class="flag">revoked</span>`
          : html`<${Careful}
              label="Revoke"
              on=${key_.key}
              sure=${`Revoke ${key_.key}… of ${key_.client}? Whoever uses it is refused from now on.`}
              act=${() => revoke(key_.key)}
            />`}
      </td>
    </tr>
  `;
}

const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** @param {{onMade: (made: import("../openapi.js").MadeKey) => void}} props */
function NewKey({ onMade }) {
  /** @param {SubmitEvent & {currentTarget: HTMLFormElement}} event */
  const onSubmit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const fields = new FormData(form);
    const day = fields.get("expires");
    const made = await change("keys", {
      client: fields.get("client"),
      label: fields.get("label"),
      priority: Number(fields.get("priority")),
      capabilities: fields.getAll("capability"),
      expires_at: day ? new Date(`${day}T23:59:59`).toISOString() : null,
    });
    if (made) {
      form.reset();
      onMade(made);
    }
  };
  return html`
    <form class="inline new" onSubmit=${onSubmit} aria-label="New key">
      <label>New key for <select name="client" required>${clients.value.map(({ name }) => html`<option key=${name}>${name}</option>`)}</select></label>
      <label>Label <input name="label" maxlength="200" placeholder="render farm" /></label>
      <label>Priority <input name="priority" type="number" min="-4" max="4" step="1" value="0" /></label>
      <label>Expires <input name="expires" type="date" aria-describedby="expires-hint" /></label>
      <fieldset class="checks">
        <legend class="unseen">What it may do</legend>
        ${CAPABILITIES.map(
          (name) => html`<label class="check"><input name="capability" type="checkbox" value=${name} defaultChecked=${name !== "admin"} /> ${name}</label>`,
        )}
      </fieldset>
      <button type="submit">Make</button>
      <p class="hint" id="expires-hint">A key is good until the end of the day on which it expires, by this browser's time (${zone()}).</p>
    </form>
  `;
}
