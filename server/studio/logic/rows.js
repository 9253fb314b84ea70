/** The catalogue's layout: rows of pictures of one height, as wide as the page. Pure functions of sizes. */

/**
 * @typedef {{first: number, count: number, top: number, height: number}} Row
 *   `height` is the pictures' alone; `top` counts from the beginning of the list
 * @typedef {{width: number, target: number, gap: number, caption: number}} Room
 *   the list's width, the wished height of a row, the space between pictures, and the height of the text below each
 */

/** Pictures wider or narrower than this (width ÷ height) are shown as if they had this ratio. */
const WIDEST = 2.6;
const NARROWEST = 0.5;

/** @param {number} ratio  width ÷ height */
export const shownRatio = (ratio) => Math.min(WIDEST, Math.max(NARROWEST, ratio || 1));

/**
 * Put pictures into rows. Each row is filled to the width; the last keeps the wished height if it is not full.
 * @param {readonly number[]} ratios  of the pictures, in order
 * @param {Room} room
 * @returns {Row[]}
 */
export function rowsOf(ratios, { width, target, gap, caption }) {
  /** @type {Row[]} */
  const rows = [];
  let first = 0;
  let sum = 0;
  let top = 0;
  /** @type {(end: number, height: number) => void} */
  const close = (end, height) => {
    rows.push({ first, count: end - first, top, height });
    top += height + caption + gap;
    first = end;
    sum = 0;
  };
  ratios.forEach((ratio, index) => {
    const without = (width - gap * (index - first - 1)) / sum;
    const height = (width - gap * (index - first)) / (sum + shownRatio(ratio));
    // A row that is somewhat too high is better than one whose pictures have no room for their text.
    if (height < target && index > first && without / target < target / height) close(index, without);
    sum += shownRatio(ratio);
    const itsHeight = (width - gap * (index - first)) / sum;
    if (itsHeight <= target) close(index + 1, itsHeight);
  });
  if (first < ratios.length) close(ratios.length, target);
  return rows;
}

/**
 * Return the height that the list would have with all of `total` pictures, guessed from the rows that are there.
 * @param {readonly Row[]} rows
 * @param {number} loaded
 * @param {number} total
 * @param {Room} room
 */
export function wholeHeight(rows, loaded, total, { target, gap, caption }) {
  const last = rows.at(-1);
  if (!last) return total ? target + caption : 0;
  const end = last.top + last.height + caption;
  return loaded >= total ? end : end + ((total - loaded) * (end + gap)) / loaded;
}

/**
 * Return the rows that touch a part of the list, found by binary search.
 * @param {readonly Row[]} rows
 * @param {number} from
 * @param {number} to
 */
export function rowsBetween(rows, from, to) {
  const start = Math.max(0, countBefore(rows, from) - 1);
  return rows.slice(start, countBefore(rows, to));
}

/**
 * Return the row of a picture.
 * @param {readonly Row[]} rows
 * @param {number} index
 */
export const rowOf = (rows, index) => rows.find((row) => index < row.first + row.count);

/**
 * Count the rows that begin before a place.
 * @param {readonly Row[]} rows
 * @param {number} place
 */
function countBefore(rows, place) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (/** @type {Row} */ (rows[middle]).top < place) low = middle + 1;
    else high = middle;
  }
  return low;
}
