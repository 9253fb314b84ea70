/** A picture by its signed link. If it does not load, the link is renewed once: it lasts only for some time. */

import * as calls from "../api/calls.js";
import { ofThisHost } from "../api/http.js";
import { replace } from "../state/catalogue.js";
import { html, useEffect, useState } from "../view.js";

/** @typedef {import("../api/types.js").Entry} Entry */

/** Pixels of the longer side of a thumbnail, and of a large one. */
const SIDE = 384;
const LARGE_SIDE = 768;

/**
 * @param {{entry: Entry, size: "thumbnail" | "whole", across?: number, alt?: string, lazy?: boolean,
 *   style?: Record<string, string>}} props  `across` are the pixels of the page that a thumbnail is wide
 */
export function Picture({ entry, size, across = 0, alt = "", lazy = false, style }) {
  const [tries, setTries] = useState(0);
  const url = size === "thumbnail" ? entry.thumbnail_url : entry.image_url;
  useEffect(() => setTries(0), [entry.public_id]);
  if (tries > 1) return html`<span class="missing">The picture is no longer on the server</span>`;
  const onError = async () => {
    if (tries > 0) return setTries(2);
    // The new link comes first: the old one would fail again.
    try {
      replace(await calls.entry(entry.kind, entry.public_id));
      setTries(1);
    } catch {
      setTries(2);
    }
  };
  return html`
    <img
      key=${`${entry.public_id} ${tries}`}
      src=${ofThisHost(url)}
      srcset=${size === "thumbnail" ? thumbnailsOf(entry) : undefined}
      sizes=${size === "thumbnail" ? `${Math.round(across)}px` : undefined}
      alt=${alt}
      width=${entry.width}
      height=${entry.height}
      decoding="async"
      loading=${lazy ? "lazy" : "eager"}
      draggable=${size === "whole"}
      style=${style}
      onError=${onError}
    />
  `;
}

/**
 * Name a picture's thumbnails with their widths, of which the browser takes the one that its screen has the dots for.
 * @param {Entry} entry
 */
function thumbnailsOf({ thumbnail_url, width, height }) {
  const longest = Math.max(width, height);
  if (longest <= SIDE) return undefined;
  const url = ofThisHost(thumbnail_url);
  /** @param {number} side */
  const widthAt = (side) => Math.round(width * Math.min(1, side / longest));
  return `${url} ${widthAt(SIDE)}w, ${url}&large=true ${widthAt(LARGE_SIDE)}w`;
}
