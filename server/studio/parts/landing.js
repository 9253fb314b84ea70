/** Where the keyboard goes on once what was pressed is gone: at the head of the open dialog, else at the pictures. */

addEventListener("click", ({ target }) => {
  requestAnimationFrame(() => {
    if (!(target instanceof Node) || target.isConnected || document.activeElement !== document.body) return;
    const landing = document.querySelector("dialog[open] .landing") ?? document.querySelector(".landing");
    if (landing instanceof HTMLElement) landing.focus({ preventScroll: true });
  });
});
