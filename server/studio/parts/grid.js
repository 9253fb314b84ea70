/** The pictures of the catalogue in rows, those that are being made first. Only those in sight and near it are in the page. */

import { rowOf, rowsBetween, rowsOf, shownRatio, wholeHeight } from "../logic/rows.js";
import { entries, readMore, total } from "../state/catalogue.js";
import { unfinished } from "../state/jobs.js";
import { tileSize } from "../state/tile_size.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../view.js";
import { ratioOf } from "../words.js";
import { Making } from "./in_progress.js";
import { Tile } from "./tile.js";
import { useWindow } from "./window.js";

/**
 * @typedef {import("../logic/rows.js").Row} Row
 * @typedef {import("../logic/rows.js").Room} Room
 * @typedef {{id: string, ratio: number}} Item  a picture, finished or not, and its width ÷ height
 * @typedef {{place: number, left: number, top: number, width: number, height: number}} Box
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
  const [active, activate] = useState({ id: "", index: 0 });
  const making = unfinished.value;
  const shown = entries.value;
  const size = tileSize.value;
  const room = useMemo(() => roomOf(width, size), [width, size]);
  const items = useMemo(
    () => [
      ...making.map(({ id, task }) => ({ id, ratio: ratioOf(task.request.aspect_ratio) })),
      ...shown.map((entry) => ({ id: entry.public_id, ratio: entry.width / entry.height })),
    ],
    [making.map(({ id }) => id).join(), shown],
  );
  const rows = useMemo(() => (width ? rowsOf(items.map(({ ratio }) => ratio), room) : []), [items, room]);
  const beyond = (to - from) * BEYOND;
  const inSight = rowsBetween(rows, from - beyond, to + beyond);
  const found = shown.findIndex((entry) => entry.public_id === active.id);
  const activeIndex = found >= 0 ? found : Math.min(active.index, shown.length - 1);
  const activeRow = rowOf(rows, making.length + activeIndex);
  const there = activeRow && !inSight.includes(activeRow) ? [...inSight, activeRow] : inSight;
  const boxes = there.flatMap((row) => boxesOf(row, items, room));

  useKeptPlace(rows, items, list);
  useEffect(() => {
    const end = rows.at(-1);
    const isNear = !end || end.top + end.height < to + (to - from) * AHEAD;
    if (isNear && shown.length && shown.length < total.value) void readMore();
  }, [rows, from, to, total.value]);

  /** @param {KeyboardEvent} event */
  const onKeyDown = (event) => {
    const place = nextPlace(event.key, making.length + activeIndex, making.length, rows, items, room);
    if (place === null) return;
    event.preventDefault();
    const index = place - making.length;
    activate({ id: items[place]?.id ?? "", index });
    requestAnimationFrame(() => focus(list.current, index));
  };
  /** @param {FocusEvent} event */
  const onFocusIn = (event) => {
    const tile = /** @type {Element} */ (event.target).closest("[data-index]");
    if (tile instanceof HTMLElement) activate({ id: tile.dataset.id ?? "", index: Number(tile.dataset.index) });
  };
  // Pass plain values, so that a tile whose values have not changed is not rendered anew at each scrolling.
  return html`
    <div class="grid" ref=${list} style=${{ height: `${wholeHeight(rows, items.length, making.length + total.value, room)}px` }}>
      ${making.length > 0 &&
      html`<ul aria-label="In progress">
        ${boxes
          .filter(({ place }) => place < making.length)
          .map(({ place, ...box }) => html`<${Making} key=${items[place]?.id} ...${making[place]} ...${box} />`)}
      </ul>`}
      ${shown.length > 0 &&
      html`<div role="list" aria-label="Pictures, newest first" onKeyDown=${onKeyDown} onFocusIn=${onFocusIn}>
        ${boxes
          .map(({ place, ...box }) => ({ index: place - making.length, ...box }))
          .filter(({ index }) => index >= 0)
          .map(
            ({ index, ...box }) =>
              html`<${Tile}
                key=${shown[index]?.public_id}
                entry=${shown[index]}
                index=${index}
                count=${total.value}
                isActive=${index === activeIndex}
                ...${box}
              />`,
          )}
      </div>`}
    </div>
  `;
}

/**
 * Return where the pictures of a row are.
 * @param {Row} row
 * @param {readonly Item[]} items
 * @param {Room} room
 * @returns {Box[]}
 */
function boxesOf(row, items, room) {
  let left = 0;
  return items.slice(row.first, row.first + row.count).map((item, offset) => {
    const width = row.height * shownRatio(item.ratio);
    const box = { place: row.first + offset, left, top: row.top, width, height: row.height };
    left += width + room.gap;
    return box;
  });
}

/**
 * Return the picture that a key moves to; null if the key moves nowhere.
 * @param {string} key
 * @param {number} place
 * @param {number} first  the first finished one
 * @param {readonly Row[]} rows
 * @param {readonly Item[]} items
 * @param {Room} room
 */
function nextPlace(key, place, first, rows, items, room) {
  const last = items.length - 1;
  if (key === "ArrowRight") return Math.min(place + 1, last);
  if (key === "ArrowLeft") return Math.max(place - 1, first);
  if (key === "Home") return first;
  if (key === "End") return last;
  if (key !== "ArrowDown" && key !== "ArrowUp") return null;
  const row = rowOf(rows, place);
  const target = row && rows[rows.indexOf(row) + (key === "ArrowDown" ? 1 : -1)];
  if (!row || !target || target.first + target.count <= first) return place;
  const here = middle(boxesOf(row, items, room)[place - row.first]);
  /** @param {Box} box */
  const far = (box) => Math.abs(middle(box) - here);
  const nearest = boxesOf(target, items, room).reduce((best, box) => (far(box) < far(best) ? box : best));
  return Math.max(first, nearest.place);
}

/** @param {Box | undefined} box */
const middle = (box) => (box ? box.left + box.width / 2 : 0);

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
 * @param {readonly Item[]} items
 * @param {{current: HTMLElement | null}} list
 */
function useKeptPlace(rows, items, list) {
  const kept = useRef({ id: "", top: 0, scrolled: 0 });
  useLayoutEffect(() => {
    const { id, top: before } = kept.current;
    const index = items.findIndex((item) => item.id === id);
    const row = index < 0 ? undefined : rowOf(rows, index);
    if (!row) return;
    if (row.top !== before) scrollBy({ top: row.top - before, behavior: "instant" });
    kept.current = { id, top: row.top, scrolled: scrollY };
  }, [rows]);
  useEffect(() => {
    const remember = () => {
      // Only if the user scrolls is another picture kept in its place.
      if (scrollY === kept.current.scrolled) return;
      const top = -(list.current?.getBoundingClientRect().top ?? 0);
      const row = top > 0 ? rowsBetween(rows, top, top + 1).at(-1) : undefined;
      // One from the middle of the row stays in it if a picture more or less comes before.
      const item = row && items[row.first + (row.count >> 1)];
      kept.current = { id: item?.id ?? "", top: row?.top ?? 0, scrolled: scrollY };
    };
    addEventListener("scroll", remember, { passive: true });
    return () => removeEventListener("scroll", remember);
  }, [rows, items]);
}
