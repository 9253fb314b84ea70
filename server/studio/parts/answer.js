/** Asks the server for what a part of the page shows. */

import { useEffect } from "../view.js";

/**
 * Ask now and whenever an input changes. An answer or an error that comes after a later question is dropped, so that it
 * cannot replace a newer one.
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => void} take
 * @param {(error: unknown) => void} refuse
 * @param {unknown[]} inputs
 */
export function useAnswer(ask, take, refuse, inputs) {
  useEffect(() => {
    let isLatest = true;
    ask().then(
      (answer) => isLatest && take(answer),
      (error) => isLatest && refuse(error),
    );
    return () => void (isLatest = false);
  }, inputs);
}
