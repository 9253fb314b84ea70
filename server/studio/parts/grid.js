/** The pictures of the catalogue in rows. Only those in sight and near it are in the page. */

import { rowOf, rowsBetween, rowsOf, shownRatio, wholeHeight } from "../logic/rows.js";
import { entries, readMore, total } from "../state/catalogue.js";
import { tileSize } from "../state/tile_size.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../view.js";
import { Tile } from "./tile.js";
import { useWindow } from "./window.js";

/**
 * @typedef {import("../logic/rows.js").Row} Row
 * @typedef {import("../logic/rows.js").Room} Room
 * @typedef {import("../api/types.js").Entry} Entry
 */

/** Pixels of the two lines below a picture: its name, and the mark that tells it apart. */
const CAPTION = 44;
/** How many windows above and below the one in sight have their pictures in the page too. */
const BEYOND = 0.75;
/** How many windows below the one in sight are read ahead. */
const AHEAD = 2;

/** The height of a row as a multiple of the usual one. */
const TIMES = { small: 0.65, medium: 1, large: 1.6 };

/**
 * @param {number} width
 * @param {import("../state/tile_size.js").TileSize} size
 * @returns {Room}
 */
const roomOf = (width, size) => ({
  width,
  target: TIMES[size] * (width < 500 ? 200 : width < 900 ? 190 : 230),
  gap: width < 500 ? 10 : 16,
  caption: CAPTION,
});

export function Grid() {
  const list = useRef(/** @type {HTMLDivElement | null} */ (null));
  const { width, from, to } = useWindow(list);
  const [active, activate] = useState(0);
  const shown = entries.value;
  const size = tileSize.value;
  const room = useMemo(() => roomOf(width, size), [width, size]);
  const rows = useMemo(
    () => (width ? rowsOf(shown.map((entry) => entry.width / entry.height), room) : []),
    [shown, room],
  );
  const beyond = (to - from) * BEYOND;
  const inSight = rowsBetween(rows, from - beyond, to + beyond);
  const activeIndex = Math.min(active, shown.length - 1);
  const activeRow = rowOf(rows, activeIndex);
  const there = activeRow && !inSight.includes(activeRow) ? [...inSight, activeRow] : inSight;

  useKeptPlace(rows, shown, list);
  useEffect(() => {
    const end = rows.at(-1);
    const isNear = !end || end.top + end.height < to + (to - from) * AHEAD;
    if (isNear && shown.length && shown.length < total.value) void readMore();
  }, [rows, from, to, total.value]);

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const next = nextIndex(event.key, activeIndex, rows, shown, room);
    if (next === null) return;
    event.preventDefault();
    activate(next);
    requestAnimationFrame(() => focus(list.current, next));
  };
  /** @param {FocusEvent} event */
  const onFocusIn = (event) => {
    const tile = /** @type {Element} */ (event.target).closest("[data-index]");
    if (tile instanceof HTMLElement) activate(Number(tile.dataset.index));
  };
  return html`
    <div
      class="grid"
      role="list"
      aria-label="Pictures, newest first"
      ref=${list}
      style=${{ height: `${wholeHeight(rows, shown.length, total.value, room)}px` }}
      onKeyDown=${onKeyDown}
      onFocusIn=${onFocusIn}
    >
      ${there.flatMap((row) => tilesOf(row, shown, room, activeIndex))}
    </div>
  `;
}

/**
 * @param {Row} row
 * @param {readonly Entry[]} shown
 * @param {Room} room
 * @param {number} active
 */
function tilesOf(row, shown, room, active) {
  let left = 0;
  return shown.slice(row.first, row.first + row.count).map((entry, place) => {
    const width = row.height * shownRatio(entry.width / entry.height);
    const from = left;
    left += width + room.gap;
    const index = row.first + place;
    // Pass plain values, so that a tile whose values have not changed is not rendered anew at each scrolling.
    return html`<${Tile}
      key=${entry.public_id}
      entry=${entry}
      left=${from}
      top=${row.top}
      width=${width}
      height=${row.height}
      index=${index}
      count=${total.value}
      isActive=${index === active}
    />`;
  });
}

/**
 * Return the picture that a key moves to; null if the key moves nowhere.
 * @param {string} key
 * @param {number} index
 * @param {readonly Row[]} rows
 * @param {readonly Entry[]} shown
 * @param {Room} room
 */
function nextIndex(key, index, rows, shown, room) {
  const last = shown.length - 1;
  if (key === "ArrowRight") return Math.min(index + 1, last);
  if (key === "ArrowLeft") return Math.max(index - 1, 0);
  if (key === "Home") return 0;
  if (key === "End") return last;
  if (key !== "ArrowDown" && key !== "ArrowUp") return null;
  const row = rowOf(rows, index);
  const target = row && rows[rows.indexOf(row) + (key === "ArrowDown" ? 1 : -1)];
  if (!row || !target) return index;
  return nearest(middle(row, index, shown, room), target, shown, room);
}

/**
 * Return how far a picture's middle is from the left.
 * @param {Row} row
 * @param {number} index
 * @param {readonly Entry[]} shown
 * @param {Room} room
 */
function middle(row, index, shown, room) {
  let left = 0;
  for (let place = row.first; place < index; place += 1) left += widthOf(row, shown[place]) + room.gap;
  return left + widthOf(row, shown[index]) / 2;
}

/**
 * @param {Row} row
 * @param {Entry | undefined} entry
 */
const widthOf = (row, entry) => (entry ? row.height * shownRatio(entry.width / entry.height) : 0);

/**
 * @param {number} place
 * @param {Row} row
 * @param {readonly Entry[]} shown
 * @param {Room} room
 */
function nearest(place, row, shown, room) {
  const indices = Array.from({ length: row.count }, (_, offset) => row.first + offset);
  /** @param {number} index */
  const far = (index) => Math.abs(middle(row, index, shown, room) - place);
  return indices.reduce((best, index) => (far(index) < far(best) ? index : best));
}

/**
 * @param {HTMLElement | null} list
 * @param {number} index
 */
function focus(list, index) {
  const tile = list?.querySelector(`[data-index="${index}"]`);
  tile?.scrollIntoView({ block: "nearest" });
  const button = tile?.querySelector(".open");
  if (button instanceof HTMLElement) button.focus({ preventScroll: true });
}

/**
 * Keep the pictures in sight in their place when others come or go above them.
 * @param {readonly Row[]} rows
 * @param {readonly Entry[]} shown
 * @param {{current: HTMLElement | null}} list
 */
function useKeptPlace(rows, shown, list) {
  const before = useRef({ id: "", top: 0 });
  useLayoutEffect(() => {
    const { id, top: itsTop } = before.current;
    const index = id ? shown.findIndex((entry) => entry.public_id === id) : -1;
    const moved = index < 0 ? 0 : (rowOf(rows, index)?.top ?? itsTop) - itsTop;
    if (moved) scrollBy({ top: moved, behavior: "instant" });
  }, [shown]);
  useEffect(() => {
    const remember = () => {
      const top = -(list.current?.getBoundingClientRect().top ?? 0);
      const row = top > 0 ? rowsBetween(rows, top, top + 1).at(-1) : undefined;
      const entry = row && shown[row.first];
      before.current = { id: entry?.public_id ?? "", top: row?.top ?? 0 };
    };
    remember();
    addEventListener("scroll", remember, { passive: true });
    return () => removeEventListener("scroll", remember);
  }, [rows, shown]);
}
