/** A picture's name, which can be changed. */

import * as calls from "../api/calls.js";
import { replace } from "../state/catalogue.js";
import { announce, tellError } from "../state/toasts.js";
import { html, useEffect, useRef, useState } from "../view.js";
import { markOf } from "./tile.js";

const MOST = 200;

/** @param {{entry: import("../api/types.js").Entry}} props */
export function Name({ entry }) {
  const [isWriting, write] = useState(false);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const name = entry.spec.display_name;
  useEffect(() => write(false), [entry.public_id]);
  useEffect(() => input.current?.select(), [isWriting]);
  /** @param {SubmitEvent} event */
  const onSubmit = async (event) => {
    event.preventDefault();
    const wanted = input.current?.value.trim() ?? "";
    write(false);
    if (!wanted || wanted === name) return;
    try {
      replace(await calls.changeEntry(entry, { display_name: wanted }));
      announce(`Renamed to ${wanted}`);
    } catch (error) {
      tellError(error);
    }
  };
  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    write(false);
  };
  if (isWriting) {
    return html`
      <form class="rename" onSubmit=${onSubmit} onKeyDown=${onKeyDown}>
        <h2 id="viewer-title" class="unseen">${name}</h2>
        <input ref=${input} aria-label="Name" maxlength=${MOST} defaultValue=${name} onBlur=${() => write(false)} />
      </form>
    `;
  }
  return html`
    <div class="name">
      <h2 id="viewer-title">
        <button type="button" class="quiet" title="Rename" onClick=${() => write(true)}><bdi>${name}</bdi></button>
      </h2>
      <small>${markOf(entry)}</small>
    </div>
  `;
}
