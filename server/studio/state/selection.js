/** The pictures that are selected in the catalogue, and the actions on pictures. */

import * as calls from "../api/calls.js";
import { computed, effect, signal } from "../view.js";
import { placeOf, plural } from "../words.js";
import { drop, entries, isOurs, putBack, readAfter, replace, settle } from "./catalogue.js";
import { phase } from "./session.js";
import { announce, tell, tellError } from "./toasts.js";

/** @typedef {import("../api/types.js").Entry} Entry */

/** The most pictures in one zip file. */
export const MOST_ARCHIVED = 500;

/** @type {import("../vendor/signals.js").Signal<ReadonlySet<string>>} */
export const selected = signal(new Set());
export const selectedEntries = computed(() => entries.value.filter((entry) => selected.value.has(entry.public_id)));
/** Whether a press on a picture selects it instead of opening it. */
const isAsked = signal(false);
export const isSelecting = computed(() => isAsked.value || selected.value.size > 0);
/** The id of the picture at which the next range begins. */
let anchor = "";

/**
 * Select an entry, or take it out of the selection; with `range`, select all from the one toggled before to this one.
 * @param {string} id
 * @param {boolean} range
 */
export function toggle(id, range) {
  const ids = entries.value.map((entry) => entry.public_id);
  const from = ids.indexOf(anchor);
  const to = ids.indexOf(id);
  const next = new Set(selected.value);
  if (range && from >= 0) ids.slice(Math.min(from, to), Math.max(from, to) + 1).forEach((one) => next.add(one));
  else if (!next.delete(id)) next.add(id);
  anchor = id;
  select(next);
}

/** The pictures that were ordered together with those that are selected, and are not selected themselves. */
export const orderedTogether = computed(() => {
  const orders = new Set(selectedEntries.value.flatMap((entry) => placeOf(entry)?.order ?? []));
  if (orders.size === 0) return [];
  return entries.value.filter((entry) => !selected.value.has(entry.public_id) && orders.has(placeOf(entry)?.order ?? ""));
});

export function selectOrderedTogether() {
  select(new Set([...selected.value, ...orderedTogether.value.map((entry) => entry.public_id)]));
}

export function selectAll() {
  select(new Set(entries.value.map((entry) => entry.public_id)));
}

/** @param {ReadonlySet<string>} ids */
function select(ids) {
  selected.value = ids;
  announce(`${plural(ids.size, "picture")} selected`);
}

/** Begin to select: until then, pictures show no box to tick if no pointer can hover over them. */
export function startSelecting() {
  isAsked.value = true;
}

export function stopSelecting() {
  anchor = "";
  isAsked.value = false;
  selected.value = new Set();
}

effect(() => {
  if (phase.value !== "open") stopSelecting();
});

/**
 * Delete entries in some seconds, unless that is taken back. They are gone from the page at once.
 * @param {readonly Entry[]} gone
 */
export function remove(gone) {
  leaveSelection(gone);
  const place = drop(gone);
  tell(`${plural(gone.length, "picture")} deleted`, {
    undo: () => putBack(gone, place),
    done: async () => {
      const left = await forAll(gone, "deleted", calls.deleteEntry);
      if (left.length) putBack(left, place);
    },
  });
}

/**
 * Archive entries, or bring them back into the catalogue.
 * @param {readonly Entry[]} moved
 * @param {"archived" | "active"} status
 */
export async function move(moved, status) {
  leaveSelection(moved);
  const place = drop(moved);
  const left = await forAll(moved, "moved", (entry) => calls.changeEntry(entry, { status }));
  if (left.length) putBack(left, place);
  settle(moved);
  const done = moved.filter((entry) => !left.includes(entry));
  if (!done.length || !isOurs(place)) return;
  const back = status === "archived" ? "active" : "archived";
  tell(`${plural(done.length, "picture")} ${status === "archived" ? "archived" : "back in the catalogue"}`, {
    undo: async () => {
      await forAll(done, "moved", (entry) => calls.changeEntry(entry, { status: back }));
      putBack(done, place);
    },
  });
}

/**
 * @param {readonly Entry[]} changed
 * @param {boolean} favourite
 */
export async function favour(changed, favourite) {
  changed.forEach((entry) => replace({ ...entry, favourite }));
  const change = forAll(changed, "changed", (entry) => calls.changeEntry(entry, { favourite }));
  readAfter(change);
  (await change).forEach(replace);
}

/**
 * Make an entry a favourite or no longer, by a key, and announce it: no button was pressed whose state would tell.
 * @param {Entry} entry
 */
export function favourByKey(entry) {
  void favour([entry], !entry.favourite);
  announce(entry.favourite ? "No longer a favourite" : "Favourite");
}

/**
 * Do something with every entry. Return the entries for which that failed, and tell the user.
 * @param {readonly Entry[]} list
 * @param {string} done
 * @param {(entry: Entry) => Promise<unknown>} work
 */
async function forAll(list, done, work) {
  const outcomes = await Promise.allSettled(list.map(work));
  const failed = outcomes.flatMap((outcome, index) => (outcome.status === "rejected" ? [{ outcome, entry: list[index] }] : []));
  const [first] = failed;
  if (first) tellError(first.outcome.reason, `${plural(failed.length, "picture")} could not be ${done}. `);
  return failed.map(({ entry }) => /** @type {Entry} */ (entry));
}

/** @param {readonly Entry[]} gone */
function leaveSelection(gone) {
  const left = new Set(selected.value);
  gone.forEach((entry) => left.delete(entry.public_id));
  selected.value = left;
}
