/** A secret that is shown only once. */

import { html, useState } from "../view.js";

/** @param {{text: string, secret: string, onClose: () => void}} props */
export function Shown({ text, secret, onClose }) {
  const [isCopied, note] = useState(false);
  const copy = () => navigator.clipboard?.writeText(secret).then(() => note(true));
  return html`
    <div class="shown" role="status">
      <p>${text}, shown this once:</p>
      <p><code class="secret">${secret}</code></p>
      <p class="actions">
        ${navigator.clipboard && html`<button type="button" class="small" onClick=${copy}>${isCopied ? "Copied" : "Copy"}</button>`}
        <button type="button" class="small" onClick=${onClose}>I have it</button>
      </p>
    </div>
  `;
}
