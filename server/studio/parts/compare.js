/** Two pictures side by side, with what differs between them. */

import { address, closePicture, openPicture } from "../state/address.js";
import { entryWith, find } from "../state/catalogue.js";
import { favour } from "../state/selection.js";
import { html, signal, useEffect, useRef, useState } from "../view.js";
import { explain } from "../words.js";
import { useAnswer } from "./answer.js";
import { Swatches } from "./facts.js";
import { Icon } from "./icon.js";
import { Overlay } from "./overlay.js";
import { Picture } from "./picture.js";
import { Zooms, sizeOf, zoom } from "./stage.js";
import { Label, labelOf } from "./tile.js";
import { Toasts } from "./toasts.js";

/** @typedef {import("../api/types.js").Entry} Entry */

/** @typedef {"beside" | "over"} Way */

/** @type {[Way, string][]} */
const WAYS = [
  ["beside", "Side by side"],
  ["over", "One over the other"],
];

/** The chosen way, which stays until the page is left. @type {import("../vendor/signals.js").Signal<Way>} */
const way = signal("beside");

export function Compare() {
  const { compare } = address.value;
  return compare.length === 2 ? html`<${Dialog} ids=${compare} />` : null;
}

/** @param {{ids: string[]}} props */
function Dialog({ ids }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const head = useRef(/** @type {HTMLHeadingElement | null} */ (null));
  const [found, setFound] = useState(/** @type {Entry[]} */ ([]));
  const [problem, say] = useState("");
  useEffect(() => {
    dialog.current?.showModal();
    head.current?.focus();
  }, []);
  useAnswer(() => Promise.all(ids.map(find)), setFound, (error) => say(explain(error)), [ids.join()]);
  /** @param {Event} event */
  const onCancel = (event) => {
    event.preventDefault();
    void closePicture();
  };
  const [one, other] = found.map((entry) => entryWith(entry.public_id) ?? entry);
  return html`
    <dialog class="compare" tabindex="-1" ref=${dialog} aria-labelledby="compare-title" onCancel=${onCancel} onClose=${closePicture}>
      <div class="heading">
        <h2 id="compare-title" class="landing" tabindex="-1" ref=${head}>Compare</h2>
        <button type="button" class="quiet square" aria-label="Close" title="Close (Esc)" onClick=${closePicture}>
          <${Icon} name="close" />
        </button>
        <${Ways} />
        ${way.value === "beside" && html`<${Zooms} />`}
      </div>
      ${problem && html`<p class="problem">${problem}</p>`}
      ${one && other && html`<${way.value === "over" ? Overlay : Pair} one=${one} other=${other} />`}
      ${one && other && html`<${Differences} one=${one} other=${other} />`}
      <${Toasts} />
    </dialog>
  `;
}

const Ways = () => html`
  <fieldset class="segments">
    <legend class="unseen">How to compare</legend>
    ${WAYS.map(
      ([value, label]) => html`
        <label>
          <input type="radio" name="way-to-compare" checked=${way.value === value} onChange=${() => (way.value = value)} />
          <span>${label}</span>
        </label>
      `,
    )}
  </fieldset>
`;

/** @param {{one: Entry, other: Entry}} props */
function Pair({ one, other }) {
  const box = useRef(/** @type {HTMLDivElement | null} */ (null));
  /** Show the same part of both. @param {{currentTarget: HTMLElement}} event */
  const onScroll = ({ currentTarget: moved }) => {
    for (const holder of box.current?.querySelectorAll(".holder") ?? []) {
      if (holder !== moved) holder.scrollTo({ left: moved.scrollLeft, top: moved.scrollTop, behavior: "instant" });
    }
  };
  return html`
    <div class="pair" ref=${box}>
      ${[one, other].map(
        (entry) => html`
          <figure class=${`stage ${zoom.value}`}>
            <div class="holder" tabindex=${zoom.value === "1" || zoom.value === "2" ? 0 : undefined} onScroll=${onScroll}>
              <${Picture} entry=${entry} size="whole" alt=${labelOf(entry)} style=${sizeOf(entry)} />
            </div>
            <figcaption>
              <button type="button" class="quiet name" title="Open" onClick=${() => openPicture(entry.public_id)}>
                <${Label} entry=${entry} />
              </button>
              <button
                type="button"
                class="star square"
                aria-label=${`Favourite ${labelOf(entry)}`}
                aria-pressed=${entry.favourite}
                onClick=${() => void favour([entry], !entry.favourite)}
              >
                <${Icon} name="star" />
              </button>
            </figcaption>
          </figure>
        `,
      )}
    </div>
  `;
}

/** @type {[string, (entry: Entry) => string][]} */
const FACTS = [
  ["Scene", (entry) => entry.spec.scene_type ?? ""],
  ["Mood", (entry) => entry.spec.mood ?? ""],
  ["Prompt", (entry) => entry.spec.prompt ?? ""],
  ["Colours", (entry) => (entry.spec.dominant_colors ?? []).join(" ")],
  ["Seed", (entry) => String(entry.seed)],
  ["Model", (entry) => entry.model],
  ["Size", (entry) => `${entry.width} × ${entry.height}`],
  ["Made", (entry) => new Date(entry.created_at).toLocaleString()],
];

/** @param {{one: Entry, other: Entry}} props */
function Differences({ one, other }) {
  const differing = FACTS.filter(([, valueOf]) => valueOf(one) !== valueOf(other));
  return html`
    <table>
      <caption class="unseen">What differs</caption>
      <tbody>
        ${differing.map(
          ([name, valueOf]) => html`
            <tr>
              <td>${valueIn(name, valueOf, one)}</td>
              <th scope="row">${name}</th>
              <td>${valueIn(name, valueOf, other)}</td>
            </tr>
          `,
        )}
      </tbody>
    </table>
  `;
}

/**
 * @param {string} name
 * @param {(entry: Entry) => string} valueOf
 * @param {Entry} entry
 */
const valueIn = (name, valueOf, entry) =>
  name === "Colours" ? html`<${Swatches} colors=${entry.spec.dominant_colors ?? []} />` : html`<bdi>${valueOf(entry) || "–"}</bdi>`;
