/** The form that asks for a key. */

import { enter, isForDesk, key, keyIn, keyProblem, phase } from "../state/session.js";
import { html, useRef, useEffect } from "../view.js";

export function Welcome() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const isEntering = phase.value === "entering";
  useEffect(() => input.current?.focus(), []);
  /** @param {SubmitEvent} event */
  const onSubmit = (event) => {
    event.preventDefault();
    void enter(keyIn(input.current?.value ?? ""));
  };
  return html`
    <main class="welcome" id="pictures" tabindex="-1">
      <h1>Backgrounds for your catalogue, made on this studio's own machine</h1>
      <form onSubmit=${onSubmit} novalidate aria-busy=${isEntering}>
        <label for="key">Your key</label>
        <div class="beside">
          <input
            id="key"
            ref=${input}
            type="password"
            autocomplete="off"
            spellcheck=${false}
            placeholder="sk_live_…"
            defaultValue=${key.value}
            aria-describedby="key-problem key-hint"
            aria-invalid=${keyProblem.value ? "true" : undefined}
          />
          <button type="submit" class="primary" aria-disabled=${isEntering}>
            ${isEntering ? "Opening …" : "Open the studio"}
          </button>
        </div>
        <p id="key-problem" class="problem" role="alert" hidden=${!keyProblem.value}>
          ${keyProblem.value}${isForDesk.value && html` <a href="desk">Go to the desk</a>`}
        </p>
        <p id="key-hint" class="hint">
          The server printed a first key, with a link, when it was first started. The operator makes more with${" "}
          <code>backlot clients add NAME --credits 1000</code>. The key stays in this browser until you forget it.
        </p>
      </form>
      <ol class="steps">
        <li><strong>Describe it.</strong> A scene, a mood and the colours that matter, or your own words.</li>
        <li><strong>Generate.</strong> Up to eight at a time; you see the price first, and each one being made.</li>
        <li><strong>Keep what works.</strong> Every picture remembers its settings, so it can be made again.</li>
      </ol>
    </main>
  `;
}
