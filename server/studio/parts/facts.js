/** The facts about a picture: what was asked, how it was understood and made, and what was measured. */

import { colorOf } from "../logic/colors.js";
import { html } from "../view.js";
import { Measured } from "./measured.js";

/**
 * @typedef {import("../api/types.js").Entry} Entry
 * @typedef {import("../api/types.js").Job} Job
 * @typedef {import("../api/types.js").Meta} Meta
 * @typedef {import("../vendor/preact.js").ComponentChildren} Children
 */

/**
 * Return the artifact of a picture among those of its job.
 * @param {Entry} entry
 * @param {Job} job
 */
export const artifactOf = ({ public_id }, job) => job.result.find((made) => made.public_id === public_id);

/** @param {{entry: Entry, job: Job | null}} props */
export function Facts({ entry, job }) {
  const meta = job ? artifactOf(entry, job)?.meta : undefined;
  return html`
    <dl class="rows">
      ${rowsOf(entry, job, meta)
        .filter(([, value]) => value)
        .map(([name, value]) => html`<dt>${name}</dt><dd><bdi>${value}</bdi></dd>`)}
    </dl>
    ${meta?.eval && html`<${Measured} found=${meta.eval} />`}
    ${meta && html`<${Technical} entry=${entry} meta=${meta} />`}
  `;
}

/**
 * @param {Entry} entry
 * @param {Job | null} job
 * @param {Meta | undefined} meta
 * @returns {[string, Children][]}
 */
function rowsOf(entry, job, meta) {
  const { scene_type, mood, dominant_colors = [], prompt } = entry.spec;
  const colors = job?.request.dominant_colors ?? dominant_colors;
  const written = prompt ?? job?.request.prompt;
  return [
    ["Scene", scene_type],
    ["Mood", mood],
    ["Prompt", written || (meta && !meta.understood ? meta.prompt : "")],
    ["Not shown", job?.request.negative_prompt],
    ["Colours", colors.length > 0 && html`<${Swatches} colors=${colors} />`],
    ["Understood", meta?.understood && understood(meta.understood, colors.length)],
    ["Brand", job?.request.pilot_brand],
    ["Size", `${entry.width} × ${entry.height} pixels`],
    ["Seed", html`<code>${entry.seed}</code>`],
    ["Model", entry.model],
    ["Made", `${new Date(entry.created_at).toLocaleString()}${madeIn(meta)}`],
    ["Flaw", meta?.technical_failure && `Delivered although flawed: ${meta.technical_failure}`],
  ];
}

/**
 * @param {import("../api/types.js").Understood} words
 * @param {number} asked  how many colours were
 */
function understood({ scene, mood, colors_used }, asked) {
  const words = [scene ?? "no such scene", mood ?? "no such mood"].join(", ");
  return colors_used < asked ? `${words}; the first ${colors_used} colours` : words;
}

/** @param {Meta | undefined} meta */
function madeIn(meta) {
  const seconds = Object.values(meta?.timings ?? {}).reduce((sum, part) => sum + part, 0);
  return seconds ? `, in ${seconds.toFixed(1)} s` : "";
}

/** @param {{colors: readonly string[]}} props */
export const Swatches = ({ colors }) => html`
  <span class="swatches">
    ${colors.map((written) => {
      const color = colorOf(written);
      return html`
        <span class="swatch" title=${written}>
          <span class="patch" style=${{ background: color?.hex ?? "none" }}></span>${color?.name ?? written}
        </span>
      `;
    })}
  </span>
`;

/** @param {{entry: Entry, meta: Meta}} props */
const Technical = ({ entry, meta }) => html`
  <details class="technical">
    <summary>Technical</summary>
    <dl class="rows">
      <dt>Steps</dt>
      <dd>${meta.steps}, guidance ${meta.guidance}</dd>
      ${meta.understood && html`<dt>Model's prompt</dt><dd><code>${meta.prompt}</code></dd>`}
      <dt>Picture</dt>
      <dd><code>${entry.public_id}</code></dd>
      <dt>Job</dt>
      <dd><code>${entry.generation_job_public_id}</code></dd>
    </dl>
  </details>
`;
