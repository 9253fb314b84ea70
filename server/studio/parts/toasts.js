/** Messages at the lower edge, and what a screen reader is told. */

import { finish, news, toasts } from "../state/toasts.js";
import { html } from "../view.js";
import { Icon } from "./icon.js";

/** Behind an open dialog nothing can be reached, so a dialog that is open shows the messages itself. */
export const Toasts = () => html`
  <div class="unseen" role="status">${news.value}</div>
  <div class="toasts" role="status">
    ${toasts.value.map((toast) => html`<${Message} key=${toast.id} ...${toast} />`)}
  </div>
`;

/** @param {import("../state/toasts.js").Toast} props */
const Message = ({ id, text, wrong, undo }) => html`
  <div class=${wrong ? "toast wrong" : "toast"}>
    <p>${text}</p>
    ${undo && html`<button type="button" onClick=${undo}>Undo</button>`}
    <button type="button" class="quiet square" aria-label="Dismiss" onClick=${() => finish(id)}><${Icon} name="close" /></button>
  </div>
`;
