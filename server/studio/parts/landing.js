/** Moves the focus on once the element that had it is gone. */

/** The last element that had the focus, until the user presses elsewhere. @type {Element | null} */
let last = null;

addEventListener("focusin", ({ target }) => void (last = /** @type {Element} */ (target)));
addEventListener("pointerdown", ({ target }) => {
  if (!last?.contains(/** @type {Node} */ (target))) last = null;
});

new MutationObserver(() => {
  if (!last || last.isConnected || document.activeElement !== document.body) return;
  const gone = last;
  last = null;
  // The viewer goes back to its picture by itself, and who has given a key begins at the top.
  if (!gone.closest(".viewer, .welcome")) goOn(gone.closest(".tile") !== null);
}).observe(document.body, { childList: true, subtree: true });

/**
 * Go on at the head of the open dialog, else at the next picture if the focus was on one, else before the pictures.
 * @param {boolean} isTile
 */
function goOn(isTile) {
  const landing =
    document.querySelector("dialog[open] .landing") ??
    (isTile ? document.querySelector(".tile .open[tabindex='0']") : null) ??
    document.querySelector(".landing");
  if (landing instanceof HTMLElement) landing.focus({ preventScroll: true });
}
