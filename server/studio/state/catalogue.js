/** The catalogue as it is shown: entries of all kinds in one list, newest first, read as far as the user scrolls. */

import * as calls from "../api/calls.js";
import { GivenUp } from "../api/http.js";
import { batch, computed, effect, signal } from "../view.js";
import { explain, plural } from "../words.js";
import { address, between } from "./address.js";
import { key, phase } from "./session.js";
import { Source } from "./source.js";
import { announce } from "./toasts.js";

/**
 * @typedef {import("../api/types.js").Entry} Entry
 * @typedef {import("../api/types.js").Kind} Kind
 * @typedef {{key: string, query: string}} Place  what the catalogue showed, and under whose key
 */

/** @type {import("../vendor/signals.js").Signal<Entry[]>} */
export const entries = signal([]);
/** How many there are, those that were not read yet included. */
export const total = signal(0);
/** Whether entries were read since the page was opened with this key. */
export const isRead = signal(false);
export const problem = signal("");
/** Ids of entries that came while the page was open, and were not opened since. @type {import("../vendor/signals.js").Signal<ReadonlySet<string>>} */
export const unseen = signal(new Set());

/** @type {Source[]} */
let sources = [];
/** @type {Set<string>} */
let known = new Set();
/** Ids of entries that are being deleted or moved: the server may still list them. @type {Set<string>} */
const leaving = new Set();
/** The last read. Reads run one after the other, so that nothing is shown twice. @type {Promise<void>} */
let lastRead = Promise.resolve();

const query = computed(() => {
  const { q, kind, scene, mood, color, model, when, favourite, archived } = address.value.filters;
  const onlyScenes = scene || mood;
  /** @type {Kind[]} */
  const kinds = kind ? [kind] : onlyScenes ? ["backgrounds"] : ["backgrounds", "images"];
  return JSON.stringify({
    kinds,
    shared: { q, color, model, favourite: favourite || null, status: archived ? "archived" : "active", ...between(when) },
    ofScenes: { scene_type: scene, mood },
  });
});

effect(() => {
  const wanted = query.value;
  if (phase.value === "open") void reload(wanted);
  else clear();
});

function clear() {
  sources = [];
  known = new Set();
  batch(() => {
    entries.value = [];
    total.value = 0;
    isRead.value = false;
    problem.value = "";
    unseen.value = new Set();
  });
}

/** @param {string} wanted */
function reload(wanted) {
  const { kinds, shared, ofScenes } = JSON.parse(wanted);
  const fresh = kinds.map(
    (/** @type {Kind} */ kind) => new Source(kind, kind === "backgrounds" ? { ...shared, ...ofScenes } : shared),
  );
  sources = fresh;
  return inTurn(async () => {
    if (sources !== fresh) return;
    known = new Set();
    const first = await next(fresh);
    if (sources !== fresh) return;
    const isOther = isRead.value;
    show(first, []);
    if (isOther) announce(`${plural(total.value, "picture")} shown`);
  });
}

/** Read the catalogue anew, for the same filters. */
export const readAgain = () => reload(query.value);

/** Read the next entries below those that are shown. */
export function readMore() {
  const mine = sources;
  return inTurn(async () => {
    if (mine !== sources || entries.value.length >= total.value) return;
    const further = await next(mine);
    if (mine === sources) show(entries.value, further);
  });
}

/** Read the entries that have come since, and show them at the top of the list. */
export function readNewest() {
  const mine = sources;
  return inTurn(async () => {
    if (mine !== sources) return;
    const fresh = (await Promise.all(mine.map((source) => source.newest(known)))).flat();
    if (mine !== sources) return;
    unseen.value = new Set([...unseen.value, ...fresh.map((entry) => entry.public_id)]);
    show(inOrder(fresh), entries.value);
  });
}

/**
 * @param {Entry[]} upper
 * @param {Entry[]} lower
 */
function show(upper, lower) {
  const all = [...upper, ...lower];
  all.forEach((entry) => known.add(entry.public_id));
  batch(() => {
    entries.value = leaving.size ? all.filter((entry) => !leaving.has(entry.public_id)) : all;
    const isWhole = sources.every((source) => source.isExhausted);
    total.value = isWhole ? entries.value.length : sources.reduce((sum, source) => sum + source.total, 0);
    isRead.value = true;
  });
}

/** @param {() => Promise<void>} work */
function inTurn(work) {
  lastRead = lastRead.then(work).then(
    () => void (problem.value = ""),
    (error) => {
      if (!(error instanceof GivenUp)) problem.value = `The catalogue could not be read. ${explain(error)}`;
    },
  );
  return lastRead;
}

/**
 * Let further reads wait for a change, so that they show it.
 * @param {Promise<unknown>} change  one that is never rejected
 */
export function readAfter(change) {
  lastRead = Promise.all([lastRead, change]).then(() => {});
}

/**
 * Take the next entries of all sources, in order: until one of them has to read on.
 * @param {Source[]} from
 */
async function next(from) {
  /** @type {Entry[]} */
  const taken = [];
  await Promise.all(from.map((source) => source.fill()));
  while (from.every((source) => source.waiting.length || source.isExhausted)) {
    const [first] = from.filter((source) => source.waiting.length).sort((a, b) => byTime(top(a), top(b)));
    if (!first) break;
    const entry = /** @type {Entry} */ (first.waiting.shift());
    if (!known.has(entry.public_id)) taken.push(entry);
  }
  return taken;
}

/** @param {Source} source */
const top = (source) => /** @type {Entry} */ (source.waiting[0]);

/** @type {(a: Entry, b: Entry) => number} */
const byTime = (a, b) => (timeOf(a) < timeOf(b) ? 1 : -1);
/** @param {Entry} entry */
const timeOf = (entry) => entry.created_at + entry.public_id;

/** @param {Entry[]} list */
const inOrder = (list) => list.sort(byTime);

/** @param {string} id */
export const entryWith = (id) => entries.value.find((entry) => entry.public_id === id);

/** @param {Entry} changed */
export function replace(changed) {
  entries.value = entries.value.map((entry) => (entry.public_id === changed.public_id ? changed : entry));
}

/**
 * Take entries off the list that leave the catalogue, or the part of it that is shown.
 * @param {readonly Entry[]} gone
 * @returns {Place}  what `putBack` asks for
 */
export function drop(gone) {
  const ids = new Set(gone.map((entry) => entry.public_id));
  ids.forEach((id) => leaving.add(id));
  const left = entries.value.filter((entry) => !ids.has(entry.public_id));
  recount(entries.value.filter((entry) => ids.has(entry.public_id)), -1);
  batch(() => {
    total.value -= entries.value.length - left.length;
    entries.value = left;
  });
  return { key: key.value, query: query.value };
}

/**
 * Return whether the page is still open with the key under which a list was shown.
 * @param {Place} place
 */
export const isOurs = (place) => phase.value === "open" && place.key === key.value;

/** @param {readonly Entry[]} moved  entries that were dropped; by now the server lists them where they belong */
export const settle = (moved) => moved.forEach((entry) => leaving.delete(entry.public_id));

/**
 * Put entries back onto the list that they were dropped from. Under another key they have no place in it.
 * @param {readonly Entry[]} back
 * @param {Place} place
 */
export function putBack(back, place) {
  settle(back);
  if (!isOurs(place)) return;
  if (place.query !== query.value) return void readAgain();
  const missing = back.filter((entry) => !entryWith(entry.public_id));
  recount(missing, 1);
  batch(() => {
    entries.value = inOrder([...entries.value, ...missing]);
    total.value += missing.length;
  });
}

/**
 * @param {readonly Entry[]} changed
 * @param {1 | -1} by
 */
function recount(changed, by) {
  for (const entry of changed) sources.find((source) => source.kind === entry.kind)?.count(by);
}

/** @param {string} id */
export function see(id) {
  if (!unseen.value.has(id)) return;
  const left = new Set(unseen.value);
  left.delete(id);
  unseen.value = left;
}

/**
 * Return an entry of any kind by its id. Throws ApiError.
 * @param {string} id
 */
export async function find(id) {
  const here = entryWith(id);
  if (here) return here;
  return calls.entry("backgrounds", id).catch(() => calls.entry("images", id));
}
