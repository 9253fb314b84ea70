/** What the picture shows: a scene and a mood, or a prompt in own words; and what the model makes of it. */

import { change, chosenModel, draft } from "../state/draft.js";
import { estimate } from "../state/estimate.js";
import { html } from "../view.js";
import { MOODS, SCENES } from "../words.js";
import { Field, text } from "./field.js";

const MOST = 200;
const MOST_PROMPT = 4000;

export function Scene() {
  const { scene, mood } = draft.value;
  return html`
    <${Field} name="scene_type" label="Scene">
      <input
        ...${text("scene_type", scene, (value) => change({ scene: value }))}
        list="scenes"
        maxlength=${MOST}
        autocomplete="off"
        placeholder="marble, wood, beach …"
      />
      <datalist id="scenes">${SCENES.map((word) => html`<option value=${word} />`)}</datalist>
    <//>
    <${Field} name="mood" label="Mood" hint=${html`<${Understood} />`}>
      <input
        ...${text("mood", mood, (value) => change({ mood: value }))}
        list="moods"
        maxlength=${MOST}
        autocomplete="off"
        placeholder="warm, soft, dramatic …"
      />
      <datalist id="moods">${MOODS.map((word) => html`<option value=${word} />`)}</datalist>
    <//>
  `;
}

export const Own = () => html`
  <${Field} name="prompt" label="Describe the picture" hint=${html`<${Understood} />`}>
    <textarea
      ...${text("prompt", draft.value.prompt, (value) => change({ prompt: value }))}
      rows="4"
      maxlength=${MOST_PROMPT}
      placeholder="An empty marble counter in warm evening light, seen from slightly above"
    ></textarea>
  <//>
`;

/** Say how a model with a closed vocabulary understands what is written, before it is paid for. */
function Understood() {
  const found = estimate.value?.understood;
  const model = chosenModel.value?.name ?? "The model";
  if (!found) return null;
  const { scene, mood } = found;
  if (!scene && !mood) return html`<strong>${model} knows none of these words.</strong> It would make a plain studio sweep.`;
  if (!scene) return html`<strong>${model} knows no such scene.</strong> It would make a plain studio sweep, ${mood}.`;
  if (!mood) return html`${model} would make <b>${scene}</b>; <strong>it knows no such mood.</strong>`;
  const isAsWritten = scene === draft.value.scene.trim().toLowerCase() && mood === draft.value.mood.trim().toLowerCase();
  return isAsWritten ? null : html`${model} understands: <b>${scene}, ${mood}</b>`;
}
