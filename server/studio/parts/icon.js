/** Icons, drawn on a grid of 20 by lines of one weight. */

import { html } from "../view.js";

/** @type {Record<string, string>} */
const PATHS = {
  add: "M10 4v12M4 10h12",
  archive: "M3 4h14v4H3zM4.5 8v8.5h11V8M8 11.5h4",
  back: "M4 4v12M16 5.5 8.5 10l7.5 4.5z",
  check: "m4.5 10.5 3.7 3.7 7.3-8.2",
  close: "m5 5 10 10M15 5 5 15",
  compare: "M10 3v14M3 5h5v10H3zM12 5h5v10h-5z",
  download: "M10 3v10m-4-3.6 4 4 4-4M3.5 16.5h13",
  key: "M12.5 11.5a4 4 0 1 0-3.6-2.3L3.5 14.6V17H6v-1.8h1.8v-1.8h1.6l1.2-1.2z",
  link: "M8.5 11.5a3 3 0 0 0 4.3 0l3-3a3 3 0 0 0-4.3-4.3l-1 1m1 3.3a3 3 0 0 0-4.3 0l-3 3a3 3 0 0 0 4.3 4.3l1-1",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  next: "m7.5 4 6 6-6 6",
  previous: "m12.5 4-6 6 6 6",
  search: "M9 14.5a5.5 5.5 0 1 1 0-11 5.5 5.5 0 0 1 0 11m4-1.5 4 4",
  star: "m10 3 2.1 4.5 4.9.6-3.6 3.4.9 4.9L10 14l-4.3 2.4.9-4.9L3 8.1l4.9-.6z",
  trash: "M4 6h12M8 6V3.8h4V6M5.5 6l.7 10.5h7.6L14.5 6M8.5 9v4.5m3-4.5v4.5",
  vary: "M4 8a6.2 6.2 0 0 1 11.2-1.8M16 12a6.2 6.2 0 0 1-11.2 1.8M15.6 3v3.4h-3.4M4.4 17v-3.4h3.4",
};

/** @param {{name: string}} props */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" focusable="false">
    <path d=${PATHS[name]} />
  </svg>
`;
