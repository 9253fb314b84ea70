/** Moves the focus once the pressed element is gone: to the head of the open dialog, else to the pictures. */

addEventListener("click", ({ target }) => void (target instanceof Node && goOnFrom(target)));

/**
 * Move the focus on if the pressed element is gone and nothing else has the focus.
 * @param {Node} pressed
 */
export function goOnFrom(pressed) {
  requestAnimationFrame(() => {
    if (pressed.isConnected || document.activeElement !== document.body) return;
    const landing = document.querySelector("dialog[open] .landing") ?? document.querySelector(".landing");
    if (landing instanceof HTMLElement) landing.focus({ preventScroll: true });
  });
}
