/** Closes an open part of the page when the user presses beside it, or moves the focus out of it. */

import { useLayoutEffect } from "../view.js";

/**
 * Close an open element when the user presses beside it, or moves the focus out of it.
 * @param {() => HTMLElement | null | undefined} find  returns an element that holds it and the button that opened it
 * @param {boolean} isOpen
 * @param {() => void} close
 */
export function useCloseOutside(find, isOpen, close) {
  // Listen as soon as it is open: a press may come before the browser has drawn it.
  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    const box = find();
    /** @param {Event} event */
    const onOutside = (event) => {
      if (!box?.contains(/** @type {Node} */ (event.target))) close();
    };
    document.addEventListener("pointerdown", onOutside);
    document.addEventListener("focusin", onOutside);
    return () => {
      document.removeEventListener("pointerdown", onOutside);
      document.removeEventListener("focusin", onOutside);
    };
  }, [isOpen]);
}
