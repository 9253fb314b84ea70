/** The form: beside the pictures if there is room, else a sheet over them. */

import { draft, change } from "../state/draft.js";
import { isEnabled, refreshSoon } from "../state/estimate.js";
import { sendDraft } from "../state/order.js";
import { clearAll, isShort, problems, showError } from "../state/problems.js";
import { computed, html, signal, useEffect, useRef } from "../view.js";
import { Colors } from "./colors.js";
import { Icon } from "./icon.js";
import { MoreOptions } from "./more_options.js";
import { OrderButton } from "./order_button.js";
import { Own, Scene } from "./subject.js";
import { Looks } from "./looks.js";
import { Toasts } from "./toasts.js";

const narrow = matchMedia("(max-width: 1000px)");
const isNarrow = signal(narrow.matches);
narrow.addEventListener("change", () => void (isNarrow.value = narrow.matches));

/** Whether the sheet is open; without one the form is always there. */
const isOpen = signal(false);

export const isSheetOpen = computed(() => isNarrow.value && isOpen.value);

/** Bring the form into sight. If it is beside the pictures, put the cursor into its first field. */
export function openComposer() {
  isOpen.value = true;
  if (isNarrow.value) return;
  requestAnimationFrame(() => {
    const first = document.querySelector(draft.value.way === "scene" ? "#scene_type" : "#prompt");
    if (first instanceof HTMLElement) first.focus();
  });
}

export const Composer = () => (isNarrow.value ? html`<${Sheet} />` : html`<aside class="composer"><${Form} /></aside>`);

function Sheet() {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const open = isOpen.value;
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open) dialog.current?.close();
  }, [open]);
  const close = () => void (isOpen.value = false);
  return html`
    <dialog class="composer sheet" aria-labelledby="composer-title" ref=${dialog} onClose=${close}>
      ${open && html`<${Form} onSent=${close} onClose=${close} /><${Toasts} />`}
    </dialog>
  `;
}

/** @param {{onSent?: () => void, onClose?: () => void}} props */
function Form({ onSent = () => {}, onClose }) {
  const form = useRef(/** @type {HTMLFormElement | null} */ (null));
  // Only a refusal moves the focus, and not a problem that goes while the user writes.
  const isRefused = useRef(false);
  useEffect(() => {
    const first = form.current?.querySelector("[aria-invalid=true]");
    if (!isRefused.current || !(first instanceof HTMLElement)) return;
    isRefused.current = false;
    first.focus({ preventScroll: true });
    // Bring its label and its problem into sight as well.
    first.closest(".field")?.scrollIntoView({ block: "center" });
  }, [problems.value]);
  /** @param {SubmitEvent} event */
  const onSubmit = async (event) => {
    event.preventDefault();
    if (!isEnabled.value) return;
    // The operator may have granted credits since.
    if (isShort.value) return refreshSoon();
    clearAll();
    isRefused.current = false;
    await sendDraft().then(onSentAll, (error) => {
      isRefused.current = true;
      showError(error);
    });
  };
  const onSentAll = () => {
    onSent();
    // Bring what is in progress into sight.
    scrollTo({ top: 0 });
  };
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.current?.requestSubmit();
  };
  return html`
    <form ref=${form} onSubmit=${onSubmit} onKeyDown=${onKeyDown} novalidate aria-labelledby="composer-title">
      <div class="fields">
        <div class="heading">
          <h2 id="composer-title">New picture</h2>
          ${onClose &&
          html`<button type="button" class="quiet square" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button>`}
        </div>
        <${Ways} />
        ${draft.value.way === "scene" ? html`<${Scene} />` : html`<${Own} />`}
        <${Colors} />
        <${Looks} />
        <${MoreOptions} />
      </div>
      <${OrderButton} />
    </form>
  `;
}

/** @type {["scene" | "prompt", string][]} */
const WAYS = [
  ["scene", "Scene and mood"],
  ["prompt", "Own words"],
];

const Ways = () => html`
  <fieldset class="segments">
    <legend class="unseen">How to describe it</legend>
    ${WAYS.map(
      ([way, label]) => html`
        <label>
          <input type="radio" name="way" checked=${draft.value.way === way} onChange=${() => change({ way })} />
          <span>${label}</span>
        </label>
      `,
    )}
  </fieldset>
`;
