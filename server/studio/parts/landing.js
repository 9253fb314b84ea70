/** Where the keyboard goes on once what was pressed is gone: at the head of the open dialog, else at the pictures. */

addEventListener("click", ({ target }) => void (target instanceof Node && goOnFrom(target)));

/**
 * Go on from what was pressed, if it is gone and nobody has gone elsewhere.
 * @param {Node} pressed
 */
export function goOnFrom(pressed) {
  requestAnimationFrame(() => {
    if (pressed.isConnected || document.activeElement !== document.body) return;
    const landing = document.querySelector("dialog[open] .landing") ?? document.querySelector(".landing");
    if (landing instanceof HTMLElement) landing.focus({ preventScroll: true });
  });
}
