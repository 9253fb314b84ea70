/** What closes when somebody presses beside it. */

import { useLayoutEffect } from "../view.js";

/**
 * Close what is open when somebody presses beside it.
 * @param {() => HTMLElement | null | undefined} find  returns what it is, with what opened it
 * @param {boolean} isOpen
 * @param {() => void} close
 */
export function useCloseOutside(find, isOpen, close) {
  // As soon as it is there: a press may come before the next picture of the screen.
  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    const box = find();
    /** @param {PointerEvent} event */
    const onPress = (event) => {
      if (!box?.contains(/** @type {Node} */ (event.target))) close();
    };
    document.addEventListener("pointerdown", onPress);
    return () => document.removeEventListener("pointerdown", onPress);
  }, [isOpen]);
}
