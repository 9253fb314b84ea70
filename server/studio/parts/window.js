/** Finds out which part of a list is in the browser's window. */

import { useEffect, useLayoutEffect, useState } from "../view.js";

/** Work out anew what is in sight each time this many pixels were scrolled. */
const STEP = 192;

/** @typedef {{width: number, from: number, to: number}} Part  `from` and `to` count from the list's upper edge */

/**
 * @param {{current: HTMLElement | null}} list
 * @returns {Part}
 */
export function useWindow(list) {
  const [part, setPart] = useState(/** @type {Part} */ ({ width: 0, from: 0, to: 0 }));
  const measure = () => {
    const box = list.current?.getBoundingClientRect();
    if (!box) return;
    const from = STEP * Math.floor(-box.top / STEP);
    const to = from + STEP * (1 + Math.ceil(innerHeight / STEP));
    setPart((old) => (old.width === box.width && old.from === from && old.to === to ? old : { width: box.width, from, to }));
  };
  useLayoutEffect(measure, []);
  useEffect(() => {
    let frame = 0;
    const soon = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        measure();
      });
    };
    const watch = new ResizeObserver(soon);
    // Elements above the list move it when they grow.
    watch.observe(document.body);
    if (list.current) watch.observe(list.current);
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => {
      cancelAnimationFrame(frame);
      watch.disconnect();
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, []);
  return part;
}
