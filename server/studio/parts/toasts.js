/** Messages at the lower edge, and what a screen reader is told. */

import { finish, hold, news, release, toasts } from "../state/toasts.js";
import { html, useEffect, useState } from "../view.js";
import { Icon } from "./icon.js";

/** Milliseconds in which a screen reader notices a text that was added. */
const NOTICED_MS = 1000;

/** The id of the last news that was there long enough to be noticed. */
let noticed = 0;

/** Behind an open dialog nothing can be reached, so a dialog that is open shows the messages itself. */
export const Toasts = () => html`
  <${NewsRegion} />
  ${toasts.value.length > 0 &&
  html`
    <section class="toasts" aria-label="Messages">
      ${toasts.value.map((toast) => html`<${Message} key=${toast.id} ...${toast} />`)}
    </section>
  `}
`;

/** The one live region. It is empty at first: a screen reader is told only of what is added to it. */
function NewsRegion() {
  const [since, listenFrom] = useState(Infinity);
  useEffect(() => listenFrom(noticed), []);
  return html`
    <div class="unseen" role="status" aria-atomic="false">
      ${news.value.filter(({ id }) => id > since).map(({ id, text }) => html`<${Told} key=${id} id=${id} text=${text} />`)}
    </div>
  `;
}

/** @param {import("../state/toasts.js").News} props */
function Told({ id, text }) {
  useEffect(() => {
    const timer = setTimeout(() => void (noticed = Math.max(noticed, id)), NOTICED_MS);
    return () => clearTimeout(timer);
  }, []);
  return html`<p>${text}</p>`;
}

/** @param {import("../state/toasts.js").Toast} props */
const Message = ({ id, text, wrong, undo }) => html`
  <div
    class=${wrong ? "toast wrong" : "toast"}
    onPointerEnter=${() => hold(id)}
    onPointerLeave=${() => release(id)}
    onFocusIn=${() => hold(id)}
    onFocusOut=${() => release(id)}
  >
    <p>${text}</p>
    ${undo && html`<button type="button" onClick=${undo}>Undo</button>`}
    <button type="button" class="quiet square" aria-label="Dismiss" onClick=${() => finish(id)}><${Icon} name="close" /></button>
  </div>
`;
