/** What closes when somebody presses beside it. */

/**
 * Close what is open when somebody presses beside it; return how to stop that.
 * @param {HTMLElement | null} box
 * @param {boolean} isOpen
 * @param {() => void} close
 */
export function closeOutside(box, isOpen, close) {
  if (!isOpen) return undefined;
  /** @param {PointerEvent} event */
  const onPress = (event) => {
    if (!box?.contains(/** @type {Node} */ (event.target))) close();
  };
  document.addEventListener("pointerdown", onPress);
  return () => document.removeEventListener("pointerdown", onPress);
}
