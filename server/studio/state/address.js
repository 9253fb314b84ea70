/**
 * The page's address: which picture is open, which two are compared, and what the catalogue shows. Back goes back in it.
 *
 * All of it is behind the `#`, which stays in the browser, so that no log of the server or of a proxy has anybody's searches.
 */

import { computed, signal } from "../view.js";

/**
 * @typedef {"" | "backgrounds" | "images"} Shown  an empty one is both
 * @typedef {"" | "today" | "yesterday" | "week" | "month" | `${number}-${number}-${number}`} When
 * @typedef {{q: string, kind: Shown, scene: string, mood: string, color: string, model: string, when: When,
 *   favourite: boolean, archived: boolean}} Filters
 * @typedef {{picture: string, compare: string[], filters: Filters}} Address
 */

const DATES = /^(today|yesterday|week|month|\d{4}-\d\d-\d\d)$/;

/** @type {import("../vendor/signals.js").Signal<Address>} */
export const address = signal(read());
export const filters = computed(() => address.value.filters, { name: "filters" });

/** @type {Filters} */
export const NO_FILTERS = {
  q: "", kind: "", scene: "", mood: "", color: "", model: "", when: "", favourite: false, archived: false,
};

/** @returns {Address} */
function read() {
  const query = new URLSearchParams(location.hash.slice(1));
  /** @param {string} name */
  const text = (name) => query.get(name) ?? "";
  const kind = text("kind");
  const when = text("when");
  return {
    picture: text("picture"),
    compare: text("compare").split(",").filter(Boolean).slice(0, 2),
    filters: {
      q: text("q"),
      kind: kind === "backgrounds" || kind === "images" ? kind : "",
      scene: text("scene"),
      mood: text("mood"),
      color: text("color"),
      model: text("model"),
      when: DATES.test(when) ? /** @type {When} */ (when) : "",
      favourite: query.has("favourite"),
      archived: query.has("archived"),
    },
  };
}

/** @param {Address} wanted */
function written({ picture, compare, filters: { favourite, archived, ...texts } }) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(texts)) if (value) query.set(name, value);
  if (favourite) query.set("favourite", "yes");
  if (archived) query.set("archived", "yes");
  if (picture) query.set("picture", picture);
  const text = query.toString() + (compare.length === 2 ? `${query.size ? "&" : ""}compare=${compare.join(",")}` : "");
  return location.pathname + location.search + (text && `#${text}`);
}

/**
 * @param {Partial<Address>} part
 * @param {"push" | "replace"} how  whether Back returns to the present address
 */
function move(part, how) {
  address.value = { ...address.value, ...part };
  const depth = (history.state?.depth ?? 0) + (how === "push" ? 1 : 0);
  history[`${how}State`]({ depth }, "", written(address.value));
}

/**
 * Open a picture, in place of another one if one is open.
 * @param {string} id
 */
export const openPicture = (id) => move({ picture: id, compare: [] }, address.value.picture ? "replace" : "push");

/** @param {string[]} ids  two */
export const openComparison = (ids) => move({ compare: ids, picture: "" }, address.value.picture ? "replace" : "push");

/** Close what is open, as Back does; return when that has happened. */
export async function closePicture() {
  if (!address.value.picture && !address.value.compare.length) return;
  if (!(history.state?.depth > 0)) return move({ picture: "", compare: [] }, "replace");
  const closed = new Promise((resolve) => addEventListener("popstate", resolve, { once: true }));
  history.back();
  await closed;
}

/** @param {Partial<Filters>} part */
export const filter = (part) => move({ filters: { ...address.value.filters, ...part } }, "push");

/**
 * Search the catalogue. More letters of a search take the place of the first ones, so that Back undoes it as a whole.
 * @param {string} q
 */
export function search(q) {
  const { filters } = address.value;
  move({ filters: { ...filters, q } }, q && filters.q ? "replace" : "push");
}

/**
 * Return the link to a picture that works for everybody with this client's key.
 * @param {string} id
 */
export const linkTo = (id) => `${location.origin}${location.pathname}#picture=${id}`;

addEventListener("popstate", () => {
  address.value = read();
});

/**
 * Return the times between which pictures were made, as the server takes them.
 * @param {When} when
 * @returns {{created_after: string | null, created_before: string | null}}
 */
export function between(when) {
  const today = new Date();
  today.setHours(0, 0, 0, 0);
  /** @param {number} days */
  const ago = (days) => new Date(today.getFullYear(), today.getMonth(), today.getDate() - days).toISOString();
  switch (when) {
    case "":
      return { created_after: null, created_before: null };
    case "today":
      return { created_after: ago(0), created_before: null };
    case "yesterday":
      return { created_after: ago(1), created_before: ago(0) };
    case "week":
      return { created_after: ago(6), created_before: null };
    case "month":
      return { created_after: ago(29), created_before: null };
    default: {
      const [year = 0, month = 1, day = 1] = when.split("-").map(Number);
      const from = new Date(year, month - 1, day);
      return {
        created_after: from.toISOString(),
        created_before: new Date(year, month - 1, day + 1).toISOString(),
      };
    }
  }
}
