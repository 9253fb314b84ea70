/** A table with a heading; a text stands in its place if it has no rows. */

import { html } from "../view.js";

/**
 * @param {{caption: string, columns: string[], rows: unknown[], empty: string, numbers?: number[]}} props
 *   `numbers` are the columns that are set flush right
 */
export function Table({ caption, columns, rows, empty, numbers = [] }) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`
    <div class="table" role="group" aria-label=${caption} tabindex="0">
      <table>
        <thead>
          <tr>
            ${columns.map(
              (name, index) => html`
                <th scope="col" class=${numbers.includes(index) ? "number" : ""}>
                  ${name || html`<span class="unseen">Actions</span>`}
                </th>
              `,
            )}
          </tr>
        </thead>
        <tbody>
          ${rows}
        </tbody>
      </table>
    </div>
  `;
}

/**
 * A button that asks once more before it acts; `on` says on what, for those who do not see the row.
 * @param {{label: string, on: string, sure: string, act: () => unknown}} props
 */
export const Careful = ({ label, on, sure, act }) => html`
  <button type="button" class="small" aria-label=${`${label} ${on}`} onClick=${() => confirm(sure) && act()}>
    ${label}
  </button>
`;
