/** A labelled field of the form, with its hint and its problem. */

import { clear, problems } from "../state/problems.js";
import { html } from "../view.js";

/**
 * @typedef {import("../state/problems.js").Field} FieldName
 * @typedef {import("../vendor/preact.js").ComponentChildren} Children
 */

/**
 * @param {{name: FieldName, label: Children, aside?: Children, hint?: Children, children: Children}} props
 *   the control among the children takes `control(name)`
 */
export const Field = ({ name, label, aside, hint, children }) => html`
  <div class="field">
    <label for=${name}>${label}${aside && html`<small>${aside}</small>`}</label>
    ${children}
    <${Below} name=${name} hint=${hint} />
  </div>
`;

/** A field of several controls. @param {{name?: FieldName, legend: Children, aside?: Children, hint?: Children, children: Children}} props */
export const FieldSet = ({ name, legend, aside, hint, children }) => html`
  <fieldset class="field" aria-describedby=${name && `${name}-below`}>
    <legend>${legend}${aside && html`<small>${aside}</small>`}</legend>
    ${children}
    ${name && html`<${Below} name=${name} hint=${hint} />`}
  </fieldset>
`;

/** @param {{name: FieldName, hint?: Children}} props */
const Below = ({ name, hint }) => html`
  <div id=${`${name}-below`} class="below">
    ${problems.value[name] && html`<p class="problem">${problems.value[name]}</p>`}
    ${hint && html`<p class="hint">${hint}</p>`}
  </div>
`;

/**
 * Return the properties that tie a control to its field.
 * @param {FieldName} name
 */
export const control = (name) => ({
  id: name,
  "aria-describedby": `${name}-below`,
  "aria-invalid": problems.value[name] ? "true" : undefined,
  onInput: () => clear(name),
});

/**
 * Return the properties of a text field that writes into the draft.
 * @param {FieldName} name
 * @param {string} value
 * @param {(value: string) => void} write
 */
export const text = (name, value, write) => ({
  ...control(name),
  value,
  onInput: (/** @type {{currentTarget: HTMLInputElement | HTMLTextAreaElement}} */ { currentTarget }) => {
    clear(name);
    write(currentTarget.value);
  },
});
