/** The pictures that one job makes, each with its number, so that they are told apart while they are made. */

import { html } from "../view.js";
import { Preview } from "./preview.js";

/** @param {{pictures: readonly import("../state/standing.js").Progress[], ratio: number}} props */
export const Several = ({ pictures, ratio }) => html`
  <ol class="several" style=${{ "--ratio": ratio, "--columns": Math.ceil(pictures.length / 2) }}>
    ${pictures.map(
      ({ told, progress, preview }, index) => html`
        <li title=${told || "Waiting"}>
          <span class="frame"><${Preview} url=${preview} /><b aria-hidden="true">${index + 1}</b></span>
          <span class="bar-of" style=${{ "--done": progress }}></span>
          <span class="unseen">Picture ${index + 1}: ${told || "waiting"}</span>
        </li>
      `,
    )}
  </ol>
`;
