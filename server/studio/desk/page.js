/** The frame of the desk: the form that asks for a key, the bar, the views. */

import { html, signal, useEffect, useRef } from "../view.js";
import { Clients } from "./clients.js";
import { Failures } from "./failures.js";
import { Keys } from "./keys.js";
import { Now } from "./now.js";
import { enter, keptKey, keyProblem, leave, phase } from "./session.js";
import { failures, follow, queue, trouble } from "./state.js";
import { Usage } from "./usage.js";
import { number } from "./words.js";

/** @type {[string, string, () => unknown][]} */
const VIEWS = [
  ["now", "Now", Now],
  ["usage", "Usage", Usage],
  ["clients", "Clients", Clients],
  ["keys", "Keys", Keys],
  ["failures", "Failures", Failures],
];

const shown = signal(viewInAddress());
addEventListener("hashchange", () => void (shown.value = viewInAddress()));

function viewInAddress() {
  const name = location.hash.slice(1);
  return VIEWS.some(([view]) => view === name) ? name : "now";
}

export const Desk = () => (phase.value === "open" ? html`<${Open} />` : html`<${Ask} />`);

function Open() {
  useEffect(follow, []);
  const [, title, View] = VIEWS.find(([name]) => name === shown.value) ?? /** @type {any} */ (VIEWS[0]);
  return html`
    <header class="desk-bar">
      <p class="desk-brand"><img src="static/icon.svg" alt="" width="24" height="24" />Backlot desk</p>
      <nav class="views" aria-label="Views">
        ${VIEWS.map(
          ([name, label]) => html`
            <a href=${`#${name}`} aria-current=${name === shown.value ? "page" : undefined}>
              ${label}${name === "failures" && failures.value.length > 0 && html`<span class="count">${failures.value.length}</span>`}
            </a>
          `,
        )}
      </nav>
      <${Summary} />
      <button type="button" class="quiet small" onClick=${leave}>Forget key</button>
    </header>
    <main class="desk">
      <h1 class="unseen landing" tabindex="-1">${title}</h1>
      <p class="desk-trouble" role="alert" hidden=${!trouble.value}>${trouble.value}</p>
      <${View} />
    </main>
  `;
}

function Summary() {
  const state = queue.value?.state;
  if (!state) return null;
  const text = `${number(state.images_waiting)} waiting, ${number(state.images_in_flight)} in work`;
  return html`<p class="desk-summary">${state.paused_at && html`<span class="flag">Paused</span>`}${text}</p>`;
}

function Ask() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => input.current?.focus(), []);
  /** @param {SubmitEvent} event */
  const onSubmit = (event) => {
    event.preventDefault();
    void enter(input.current?.value ?? "");
  };
  return html`
    <main class="desk-ask">
      <h1>The operator's desk</h1>
      <form onSubmit=${onSubmit} novalidate aria-busy=${phase.value === "entering"}>
        <label for="key">Operator's key</label>
        <div class="beside">
          <input id="key" ref=${input} type="password" autocomplete="off" spellcheck=${false} placeholder="sk_live_…" defaultValue=${keptKey()} aria-describedby="key-problem key-hint" />
          <button type="submit" class="primary">${phase.value === "entering" ? "Opening …" : "Open the desk"}</button>
        </div>
        <p id="key-problem" class="problem" role="alert" hidden=${!keyProblem.value}>${keyProblem.value}</p>
        <p id="key-hint" class="hint">
          Make one on the box with <code>backlot keys add CLIENT --capability admin</code>. It stays in this browser until you
          forget it.
        </p>
      </form>
    </main>
  `;
}
