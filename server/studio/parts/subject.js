/** The fields for what the picture shows: a scene and a mood, or a prompt in own words; and what the model makes of it. */

import { change, chosenModel, draft } from "../state/draft.js";
import { understood } from "../state/estimate.js";
import { html } from "../view.js";
import { MOODS, SCENES } from "../words.js";
import { Field, text } from "./field.js";

const MOST = 200;
const MOST_PROMPT = 4000;

export function Scene() {
  const { scene, mood } = draft.value;
  const { scenes, moods } = chosenModel.value?.vocabulary ?? { scenes: SCENES, moods: MOODS };
  return html`
    <${Field} name="scene_type" label="Scene">
      <input
        ...${text("scene_type", scene, (value) => change({ scene: value }))}
        list="scenes"
        maxlength=${MOST}
        autocomplete="off"
        placeholder="marble, wood, beach …"
      />
      <datalist id="scenes">${scenes.map((word) => html`<option value=${word} />`)}</datalist>
    <//>
    <${Field} name="mood" label="Mood" hint=${html`<${Understood} />`}>
      <input
        ...${text("mood", mood, (value) => change({ mood: value }))}
        list="moods"
        maxlength=${MOST}
        autocomplete="off"
        placeholder="warm, soft, dramatic …"
      />
      <datalist id="moods">${moods.map((word) => html`<option value=${word} />`)}</datalist>
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
  const found = understood.value;
  const { name = "The model", vocabulary = null } = chosenModel.value ?? {};
  if (!found || !vocabulary) return null;
  const { scene, mood } = found;
  const scenery = scene ?? vocabulary.default_scene;
  const feeling = mood ?? vocabulary.default_mood;
  if (scene && mood) return isAsWritten(scene, mood) ? null : html`${name} understands: <b>${scene}, ${mood}</b>`;
  const unknown = [!scene && "scene", !mood && "mood"].filter(Boolean).join(" and ");
  return html`<strong>${name} knows no such ${unknown}.</strong> It would make: <b>${scenery}, ${feeling}</b>`;
}

/**
 * @param {string} scene
 * @param {string} mood
 */
function isAsWritten(scene, mood) {
  const { way, scene: itsScene, mood: itsMood } = draft.value;
  return way === "scene" && scene === itsScene.trim().toLowerCase() && mood === itsMood.trim().toLowerCase();
}
