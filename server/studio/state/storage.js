/** Keeps things in this browser between visits. If its storage is switched off, they last as long as the page. */

const PREFIX = "backlot-";

/**
 * @template T
 * @param {string} name
 * @param {T} otherwise  what to return if nothing is kept
 * @returns {T}
 */
export function kept(name, otherwise) {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/**
 * @param {string} name
 * @param {unknown} value  null forgets it
 */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // There is no storage, or it is full: the page works without it.
  }
}
