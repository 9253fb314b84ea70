/** The catalogue: every background of this client, newest first, each in its own shape. */

import * as api from "./api.js";
import { byId, el, show, tell } from "./dom.js";
import { explain } from "./words.js";

/** @typedef {import("./api.js").Background} Background */

const PAGE = 24;

/** @type {Background[]} */
let items = [];
/** @type {(jobId: string) => void} */
let onOpen = () => {};
/** @type {Promise<void>} */
let lastLoad = Promise.resolve();

/** @param {(jobId: string) => void} open */
export function setUp(open) {
  onOpen = open;
  byId("show-more").addEventListener("click", () => void loadMore());
}

export function clear() {
  items = [];
  byId("gallery").replaceChildren();
  byId("show-more").hidden = true;
  byId("empty").hidden = true;
}

/** Return the job ids in the order shown. */
export const shown = () => items.map((item) => item.generation_job_public_id);

/** Load the next page, below what is there. */
export const loadMore = () => queue(() => load(items.length, "append"));

/** Load what is new, above what is there. */
export const loadNewest = () => queue(() => load(0, "prepend"));

/**
 * Run one load after the other, so that nothing is shown twice.
 * @param {() => Promise<void>} work
 */
function queue(work) {
  lastLoad = lastLoad.then(work).then(
    () => tell(byId("gallery-problem"), ""),
    (error) => tell(byId("gallery-problem"), `The catalogue could not be read. ${explain(error)}`),
  );
  return lastLoad;
}

/**
 * @param {number} offset
 * @param {"append" | "prepend"} place
 */
async function load(offset, place) {
  const first = items.length === 0;
  // One more than is shown tells whether there are more.
  const found = await api.backgrounds(PAGE + 1, offset);
  const known = new Set(items.map((item) => item.public_id));
  const fresh = found.slice(0, PAGE).filter((item) => !known.has(item.public_id));
  const tiles = fresh.map(makeTile);
  if (place === "append") byId("gallery").append(...tiles);
  else byId("gallery").prepend(...tiles);
  items = place === "append" ? [...items, ...fresh] : [...fresh, ...items];
  if (place === "append" || first) byId("show-more").hidden = found.length <= PAGE;
  byId("empty").hidden = items.length > 0;
}

/** @param {Background} item */
function makeTile(item) {
  const name = item.spec.display_name;
  const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
  const tile = el("li", { className: "tile" });
  const lost = el("span", { className: "missing", hidden: true }, "The picture is no longer on the server");
  const open = () => onOpen(item.generation_job_public_id);
  const caption = el("span", { className: "caption" }, name);
  tile.append(el("button", { type: "button", onclick: open, title: item.description }, image, lost, caption));
  setRatio(tile, sizeIn(item.description));
  image.onload = () => setRatio(tile, image.naturalWidth / image.naturalHeight);
  const renew = async () => (await api.background(item.public_id)).image_url;
  show(image, item.image_url, renew, () => {
    image.hidden = true;
    lost.hidden = false;
  });
  return tile;
}

/**
 * @param {HTMLElement} tile
 * @param {number} ratio
 */
function setRatio(tile, ratio) {
  tile.style.setProperty("--ratio", ratio.toFixed(4));
}

/**
 * Return width ÷ height as the description tells them, so that nothing moves when the picture arrives; 1 if it does not.
 * @param {string} description
 */
function sizeIn(description) {
  const size = [...description.matchAll(/(\d{2,5}) × (\d{2,5})/g)].pop();
  return size ? Number(size[1]) / Number(size[2]) : 1;
}
