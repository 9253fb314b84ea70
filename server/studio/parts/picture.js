/** A picture by its signed link. If it does not load, the link is renewed: it lasts only for some time. */

import * as calls from "../api/calls.js";
import { ApiError, ofThisHost } from "../api/http.js";
import { replace } from "../state/catalogue.js";
import { html, useEffect, useState } from "../view.js";

/** @typedef {import("../api/types.js").Entry} Entry */

/** Pixels of the longer side of a thumbnail, and of a large one. */
const SIDE = 384;
const LARGE_SIDE = 768;
/** Milliseconds until a picture that did not come is asked for again. */
const AGAIN_MS = 10_000;

const GONE = "The picture is no longer on the server";
const LATE = "The picture did not come. It is asked for again.";

/**
 * @param {{entry: Entry, size: "thumbnail" | "whole", across?: number, alt?: string, lazy?: boolean,
 *   style?: Record<string, string>}} props  `across` are the pixels of the page that a thumbnail is wide
 */
export function Picture({ entry, size, across = 0, alt = "", lazy = false, style }) {
  const { kind, public_id } = entry;
  const [tries, setTries] = useState(0);
  const [failed, fail] = useState({ id: "", why: "" });
  const problem = failed.id === public_id ? failed.why : "";
  /** @param {Entry} entry */
  const linkOf = ({ thumbnail_url, image_url }) => (size === "thumbnail" ? thumbnail_url : image_url);
  useEffect(() => setTries(0), [public_id]);
  useEffect(() => {
    if (problem !== LATE) return undefined;
    const timer = setTimeout(() => fail({ id: "", why: "" }), AGAIN_MS);
    return () => clearTimeout(timer);
  }, [problem]);
  if (problem) return html`<span class="missing">${problem}</span>`;
  const onError = async () => {
    try {
      const renewed = await calls.entry(kind, public_id);
      // If the new link does not work either, its error says why.
      if (tries > 0) await calls.look(linkOf(renewed));
      // The new link comes first: the old one would fail again.
      replace(renewed);
      if (tries > 0) fail({ id: public_id, why: LATE });
      else setTries(1);
    } catch (error) {
      fail({ id: public_id, why: error instanceof ApiError && error.status === 404 ? GONE : LATE });
    }
  };
  return html`
    <img
      key=${`${public_id} ${tries}`}
      src=${ofThisHost(linkOf(entry))}
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
 * Return a picture's thumbnails with their widths, so that the browser takes the one that fits its screen.
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
