/** The preview of a picture while it is made. */

import { ofThisHost } from "../api/http.js";
import { html, useState } from "../view.js";

/** @param {{url: string}} props  a link, or nothing */
export function Preview({ url }) {
  // The server removes the preview once the picture is finished.
  const [lost, lose] = useState("");
  return url && url !== lost ? html`<img src=${ofThisHost(url)} alt="" onError=${() => lose(url)} />` : null;
}
