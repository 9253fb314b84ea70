/** Saving files from the page. */

import { placeOf } from "../words.js";

/** Milliseconds that a browser has to begin with a download. */
const KEPT_MS = 60_000;

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}

/**
 * Return the name of a picture's file: what it is called, which of its order it is, and its seed.
 * @param {import("../api/types.js").Entry} entry
 */
export function fileName(entry) {
  const { spec, seed } = entry;
  const words = spec.display_name.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80);
  const place = placeOf(entry);
  return [words || "picture", place && `${place.number}-of-${place.of}`, seed].filter((part) => part !== null).join("-") + ".png";
}

/**
 * Copy a text and say whether that worked. The clipboard API is missing if the page came over plain HTTP from another machine.
 * @param {string} text
 * @param {HTMLElement} near  an element of the dialog that is open, if one is: nothing outside of it can be selected
 */
export async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    near.append(field);
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    near.focus();
    return isCopied;
  }
}
