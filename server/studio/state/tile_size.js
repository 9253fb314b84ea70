/** The size at which the catalogue shows pictures; this browser keeps it. */

import { signal } from "../view.js";
import { keep, kept } from "./storage.js";

/** @typedef {"small" | "medium" | "large"} TileSize */

/** @type {[TileSize, string][]} */
export const TILE_SIZES = [
  ["small", "Small"],
  ["medium", "Medium"],
  ["large", "Large"],
];

export const tileSize = signal(kept("tile-size", /** @type {TileSize} */ ("medium")));

/** @param {TileSize} wanted */
export function chooseTileSize(wanted) {
  tileSize.value = wanted;
  keep("tile-size", wanted);
}
