/** The filters of the catalogue. */

import { colorOf } from "../logic/colors.js";
import { NO_FILTERS, filter, filters } from "../state/address.js";
import { entries } from "../state/catalogue.js";
import { models, vocabularies } from "../state/session.js";
import { computed, html } from "../view.js";
import { Icon } from "./icon.js";

/** @typedef {import("../state/address.js").Filters} FilterValues */

/** @param {FilterValues} wanted */
export const isFiltered = (wanted) => JSON.stringify(wanted) !== JSON.stringify(NO_FILTERS);

/** @type {[string, string][]} */
const KINDS = [
  ["", "Any kind"],
  ["backgrounds", "Scenes"],
  ["images", "Own words"],
];

/** @type {[string, string][]} */
const TIMES = [
  ["", "Any time"],
  ["today", "Today"],
  ["yesterday", "Yesterday"],
  ["week", "Last 7 days"],
  ["month", "Last 30 days"],
  ["day", "On a day …"],
];

/** Scenes and moods to choose from: those of the pictures that were read, and those that models know. */
const scenes = computed(() => wordsOf(vocabularies.value.flatMap(({ scenes }) => scenes), (entry) => entry.spec.scene_type));
const moods = computed(() => wordsOf(vocabularies.value.flatMap(({ moods }) => moods), (entry) => entry.spec.mood));

/**
 * @param {readonly string[]} known
 * @param {(entry: import("../api/types.js").Entry) => string | undefined} wordOf
 */
function wordsOf(known, wordOf) {
  const found = entries.value.flatMap((entry) => wordOf(entry) ?? []);
  return [...new Set([...found, ...known])].sort((a, b) => a.localeCompare(b));
}

export function Filters() {
  const shown = filters.value;
  const isDay = /^\d/.test(shown.when);
  return html`
    <div class="filters" role="group" aria-label="Filters">
      <${Select} label="Kind" value=${shown.kind} choices=${KINDS} name="kind" />
      <${Words} label="Scene" name="scene" value=${shown.scene} words=${scenes.value} />
      <${Words} label="Mood" name="mood" value=${shown.mood} words=${moods.value} />
      <${ColorFilter} />
      ${models.value.length > 1 &&
      html`<${Words} label="Model" name="model" value=${shown.model} words=${models.value.map(({ name }) => name)} />`}
      <${Time} when=${shown.when} isDay=${isDay} />
      <button
        type="button"
        class="small toggle"
        aria-pressed=${shown.favourite}
        onClick=${() => filter({ favourite: !shown.favourite })}
      >
        <${Icon} name="star" />Favourites
      </button>
      <button
        type="button"
        class="small toggle"
        aria-pressed=${shown.archived}
        onClick=${() => filter({ archived: !shown.archived })}
      >
        <${Icon} name="archive" />Archive
      </button>
    </div>
  `;
}

/** @param {{label: string, name: keyof FilterValues, value: string, choices: [string, string][]}} props */
const Select = ({ label, name, value, choices }) => html`
  <select
    class=${value ? "small set" : "small"}
    aria-label=${label}
    value=${value}
    onChange=${(/** @type {{currentTarget: HTMLSelectElement}} */ event) => filter({ [name]: event.currentTarget.value })}
  >
    ${choices.map(([choice, says]) => html`<option value=${choice} selected=${choice === value}>${says}</option>`)}
  </select>
`;

/** @param {{label: string, name: keyof FilterValues, value: string, words: string[]}} props */
function Words({ label, name, value, words }) {
  const offered = value && !words.includes(value) ? [value, ...words] : words;
  /** @type {[string, string][]} */
  const choices = [["", label], ...offered.map(/** @returns {[string, string]} */ (word) => [word, word])];
  return html`<${Select} label=${label} name=${name} value=${value} choices=${choices} />`;
}

function ColorFilter() {
  const color = colorOf(filters.value.color);
  /** @param {{currentTarget: HTMLInputElement}} event */
  const onPick = ({ currentTarget }) => filter({ color: currentTarget.value });
  return html`
    <span class=${color ? "color-filter set" : "color-filter"}>
      <label>
        <input type="color" value=${color?.hex ?? "#6f8fb0"} aria-label="Colour" onChange=${onPick} />
        <span>${color ? color.name : "Colour"}</span>
      </label>
      ${color &&
      html`<button type="button" class="quiet" aria-label="Any colour" onClick=${() => filter({ color: "" })}>
        <${Icon} name="close" />
      </button>`}
    </span>
  `;
}

/** @param {{when: string, isDay: boolean}} props */
function Time({ when, isDay }) {
  /** @param {{currentTarget: HTMLSelectElement}} event */
  const onChange = ({ currentTarget: { value } }) =>
    filter({ when: /** @type {FilterValues["when"]} */ (value === "day" ? dateOf(new Date()) : value) });
  /** @param {{currentTarget: HTMLInputElement}} event */
  const onDay = ({ currentTarget: { value } }) => filter({ when: /** @type {FilterValues["when"]} */ (value) });
  const shown = isDay ? "day" : when;
  return html`
    <select class=${when ? "small set" : "small"} aria-label="Made" value=${shown} onChange=${onChange}>
      ${TIMES.map(([choice, says]) => html`<option value=${choice} selected=${choice === shown}>${says}</option>`)}
    </select>
    ${isDay && html`<input class="small set" type="date" aria-label="Day" value=${when} onChange=${onDay} />`}
  `;
}

/** @param {Date} day */
const dateOf = (day) =>
  [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
