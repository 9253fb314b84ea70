/** The parts of the view library that the pages use, and the tag of their templates. */

import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

/**
 * Describe elements by a template: html`<p class=${name}>…</p>`. Values are put in as text, never parsed as HTML.
 * @type {(strings: TemplateStringsArray, ...values: unknown[]) => import("./vendor/preact.js").VNode}
 */
export const html = /** @type {any} */ (htm.bind(/** @type {any} */ (h)));

export { Component, createContext, Fragment, render } from "./vendor/preact.js";
export { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
export { batch, computed, effect, signal, useComputed, useSignal, useSignalEffect } from "./vendor/signals.js";
