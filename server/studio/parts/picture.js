/** A picture by its signed link. If it does not load, the link is renewed once: it lasts only for some time. */

import * as calls from "../api/calls.js";
import { ofThisHost } from "../api/http.js";
import { replace } from "../state/catalogue.js";
import { html, useEffect, useState } from "../view.js";

/**
 * @param {{entry: import("../api/types.js").Entry, size: "thumbnail" | "whole", alt?: string, lazy?: boolean,
 *   style?: Record<string, string>}} props
 */
export function Picture({ entry, size, alt = "", lazy = false, style }) {
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
