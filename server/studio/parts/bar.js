/** The bar at the top: the name, the search, what the server runs on, the balance, and a menu. */

import { filters, search } from "../state/address.js";
import { credits, isTest, leave, phase, readiness, silence } from "../state/session.js";
import { TILE_SIZES, chooseTileSize, tileSize } from "../state/tile_size.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { Account } from "./account.js";
import { useCloseOutside } from "./close_outside.js";
import { openComposer } from "./composer.js";
import { Icon } from "./icon.js";
import { THEMES, chooseTheme, theme } from "./theme.js";

/** Milliseconds after the last keystroke before the catalogue is searched. */
const SETTLED_MS = 250;

export function Bar() {
  const isOpen = phase.value === "open";
  return html`
    <header class="bar">
      <a class="skip" href="#pictures" onClick=${skip}>Skip to the pictures</a>
      <p class="brand"><img src="static/icon.svg" alt="" width="24" height="24" />Backlot</p>
      ${isOpen && html`<${Search} />`}
      <div class="bar-end">
        <${Engine} />
        ${isOpen && html`<${Balance} />`}
        <${Menu} />
        ${isOpen &&
        html`<button type="button" class="primary new" onClick=${openComposer}><${Icon} name="add" />New picture</button>`}
      </div>
    </header>
  `;
}

/** Go to the pictures without the address: the page keeps its own state behind the `#`. @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("pictures")?.focus();
}

function Search() {
  const shown = filters.value.q;
  const [text, write] = useState(shown);
  const timer = useRef(0);
  useEffect(() => {
    // What is being written keeps its space at the end.
    if (shown !== text.trim()) write(shown);
  }, [shown]);
  /** @param {InputEvent & {currentTarget: HTMLInputElement}} event */
  const onInput = ({ currentTarget: { value } }) => {
    write(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => search(value.trim()), SETTLED_MS);
  };
  return html`
    <search class="search">
      <${Icon} name="search" />
      <input
        type="search"
        aria-label="Search the catalogue"
        placeholder="Search by name, scene, mood or prompt"
        value=${text}
        onInput=${onInput}
      />
    </search>
  `;
}

function Engine() {
  const state = readiness.value;
  if (silence.value) return html`<p class="engine waits" title=${silence.value}><span class="dot"></span>No answer</p>`;
  if (!state) return null;
  const models = state.models.join(", ") || "No model in memory";
  const text = state.ready ? [models, state.device].filter(Boolean).join(" on ") : "Not ready";
  return html`<p class=${state.ready ? "engine" : "engine waits"} title=${state.note ?? text}><span class="dot"></span>${text}</p>`;
}

function Balance() {
  const [isOpen, open] = useState(false);
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const close = () => {
    open(false);
    button.current?.focus();
  };
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => void (isOpen && event.key === "Escape" && close());
  return html`
    <div class="menu" onKeyDown=${onKeyDown}>
      <button
        type="button"
        class="quiet"
        ref=${button}
        aria-expanded=${isOpen}
        title="What was spent"
        onClick=${() => open(!isOpen)}
      >
        <strong class="balance">${(credits.value?.balance ?? 0).toLocaleString()}</strong> credits
        ${isTest.value && html`<span class="badge">test key</span>`}
      </button>
      ${isOpen && html`<${Account} onClose=${() => open(false)} />`}
    </div>
  `;
}

function Menu() {
  const [isOpen, open] = useState(false);
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  useCloseOutside(() => box.current, isOpen, () => open(false));
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || !isOpen) return;
    open(false);
    button.current?.focus();
  };
  return html`
    <div class="menu" ref=${box} onKeyDown=${onKeyDown}>
      <button
        type="button"
        class="quiet square"
        ref=${button}
        aria-label="Menu"
        aria-expanded=${isOpen}
        onClick=${() => open(!isOpen)}
      >
        <${Icon} name="menu" />
      </button>
      ${isOpen && html`<${MenuPanel} />`}
    </div>
  `;
}

const KEYS = [
  ["Ctrl Enter", "generate, in the form"],
  ["← → ↑ ↓", "from picture to picture"],
  ["Enter", "open"],
  ["X", "select; with Shift a range"],
  ["F", "favourite"],
  ["Delete", "delete"],
  ["Ctrl Z", "take back a deletion"],
  ["Esc", "close, or end the selection"],
];

const MenuPanel = () => html`
  <div class="panel-menu">
    <fieldset>
      <legend>Appearance</legend>
      <div class="segments">
        ${THEMES.map(
          ([value, label]) => html`
            <label>
              <input type="radio" name="theme" checked=${theme.value === value} onChange=${() => chooseTheme(value)} />
              <span>${label}</span>
            </label>
          `,
        )}
      </div>
    </fieldset>
    <fieldset>
      <legend>Pictures</legend>
      <div class="segments">
        ${TILE_SIZES.map(
          ([value, label]) => html`
            <label>
              <input type="radio" name="tile-size" checked=${tileSize.value === value} onChange=${() => chooseTileSize(value)} />
              <span>${label}</span>
            </label>
          `,
        )}
      </div>
    </fieldset>
    <section class="keys">
      <h2>Keys</h2>
      <dl>${KEYS.map(([key, does]) => html`<dt><kbd>${key}</kbd></dt><dd>${does}</dd>`)}</dl>
    </section>
    <nav class="links" aria-label="Server">
      <a href="schema">API</a><a href="readyz">Readiness</a><a href="metrics">Metrics</a>
    </nav>
    ${phase.value === "open" &&
    html`<button type="button" onClick=${() => leave()}><${Icon} name="key" />Forget key</button>`}
  </div>
`;
