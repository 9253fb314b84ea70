/** Clients and their credits. */

import { html, useState } from "../view.js";
import { Shown } from "./shown.js";
import { change, clients } from "./state.js";
import { Careful, Table } from "./table.js";
import { moment, number } from "./words.js";

export function Clients() {
  const [made, show] = useState(/** @type {import("../openapi.js").MadeClient | null} */ (null));
  return html`
    <section aria-labelledby="clients">
      <h2 id="clients">Clients</h2>
      <${NewClient} onMade=${show} />
      ${made && html`<${Shown} text=${`The key of ${made.name}`} secret=${made.key} onClose=${() => show(null)} />`}
      <${Table}
        caption="Clients"
        columns=${["Client", "Balance", "Keys", "Jobs", "Since", "Credits", ""]}
        numbers=${[1, 2, 3]}
        empty="There are no clients."
        rows=${clients.value.map((client) => html`<${ClientRow} key=${client.name} client=${client} />`)}
      />
    </section>
  `;
}

/** @param {{client: import("../openapi.js").ClientReport}} props */
function ClientRow({ client }) {
  const path = `clients/${encodeURIComponent(client.name)}`;
  return html`
    <tr>
      <td>
        ${client.name}${client.test && html` <span class="badge">test</span>`}${client.disabled_at && html` <span class="flag">disabled</span>`}
      </td>
      <td class="number">${number(client.balance)}</td>
      <td class="number">${client.keys}</td>
      <td class="number">${number(client.jobs)}</td>
      <td>${moment(client.created_at)}</td>
      <td><${Grant} client=${client.name} path=${path} /></td>
      <td class="actions">
        ${client.disabled_at
          ? html`<button type="button" class="small" aria-label=${`Enable ${client.name}`} onClick=${() => change(`${path}/enable`)}>Enable</button>`
          : html`<${Careful}
              label="Disable"
              on=${client.name}
              sure=${`Refuse all keys of ${client.name}? Its jobs go on, and its credits stay.`}
              act=${() => change(`${path}/disable`)}
            />`}
      </td>
    </tr>
  `;
}

/** @param {{client: string, path: string}} props */
function Grant({ client, path }) {
  /** @param {SubmitEvent & {currentTarget: HTMLFormElement}} event */
  const onSubmit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const fields = new FormData(form);
    const body = { credits: Number(fields.get("credits")), note: String(fields.get("note")) };
    if (await change(`${path}/grants`, body)) form.reset();
  };
  return html`
    <form class="inline" onSubmit=${onSubmit}>
      <input name="credits" type="number" step="1" required aria-label=${`Credits for ${client}; below 0 to take back`} placeholder="+100 or −20" />
      <input name="note" maxlength="200" aria-label=${`Note for ${client}`} placeholder="Note" />
      <button type="submit" class="small" aria-label=${`Grant ${client}`}>Grant</button>
    </form>
  `;
}

/** @param {{onMade: (made: import("../openapi.js").MadeClient) => void}} props */
function NewClient({ onMade }) {
  /** @param {SubmitEvent & {currentTarget: HTMLFormElement}} event */
  const onSubmit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const fields = new FormData(form);
    const body = { name: fields.get("name"), credits: Number(fields.get("credits")), test: fields.has("test") };
    const made = await change("clients", body);
    if (made) {
      form.reset();
      onMade(made);
    }
  };
  return html`
    <form class="inline new" onSubmit=${onSubmit} aria-label="New client">
      <label>New client <input name="name" required maxlength="200" placeholder="compositing" /></label>
      <label>First credits <input name="credits" type="number" min="0" step="1" value="0" /></label>
      <label class="check"><input name="test" type="checkbox" /> Test key</label>
      <button type="submit">Add</button>
    </form>
  `;
}
