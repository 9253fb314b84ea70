/** Stacked bars, a day each, drawn as SVG. */

import { html } from "../view.js";
import { number } from "./words.js";

const WIDTH = 960;
const HEIGHT = 220;
const LEFT = 56;
const RIGHT = 16;
const BELOW = 22;
const ABOVE = 8;

/**
 * @param {{days: string[], names: string[], value: (day: string, index: number) => number, label: string}} props
 *   `names` are those of the stacked parts, and `value` takes the index of one
 */
export function Bars({ days, names, value, label }) {
  const totals = days.map((day) => names.reduce((sum, _, index) => sum + value(day, index), 0));
  const top = ceiling(Math.max(1, ...totals));
  const wide = (WIDTH - LEFT - RIGHT) / days.length;
  /** @param {number} amount */
  const y = (amount) => ABOVE + (HEIGHT - ABOVE - BELOW) * (1 - amount / top);
  const lines = [0, top / 2, top].filter(Number.isInteger);
  const most = days[totals.indexOf(Math.max(...totals))];
  return html`
    <figure class="plot" tabindex="0">
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`${label} a day: at most ${number(Math.max(...totals))}, on ${most}`}>
        ${lines.map(
          (amount) => html`
            <line class="grid-line" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${y(amount)} y2=${y(amount)} />
            <text class="tick" x=${LEFT - 8} y=${y(amount) + 4} text-anchor="end">${number(amount)}</text>
          `,
        )}
        ${days.map((day, index) => html`<${Bar} key=${day} day=${day} x=${LEFT + index * wide} wide=${wide} y=${y} names=${names} value=${value} />`)}
        ${days.map(
          (day, index) =>
            (days.length - 1 - index) % 7 === 0 &&
            html`<text class="tick" x=${LEFT + (index + 0.5) * wide} y=${HEIGHT - 6} text-anchor="middle">${short(day)}</text>`,
        )}
      </svg>
      <figcaption>
        ${names.map((name, index) => html`<span class="legend"><i class=${`swatch series-${index}`}></i>${name}</span>`)}
      </figcaption>
    </figure>
  `;
}

/**
 * @param {{day: string, x: number, wide: number, y: (amount: number) => number, names: string[],
 *   value: (day: string, index: number) => number}} props
 */
function Bar({ day, x, wide, y, names, value }) {
  let below = 0;
  const parts = names.map((name, index) => {
    const amount = value(day, index);
    const part = { name, index, amount, from: below };
    below += amount;
    return part;
  });
  return html`
    <g>
      ${parts
        .filter((part) => part.amount > 0)
        .map(
          ({ name, index, amount, from }) => html`
            <rect class=${`series-${index}`} x=${x + wide * 0.15} width=${wide * 0.7} y=${y(from + amount)} height=${y(from) - y(from + amount)}>
              <title>${`${day}, ${name}: ${number(amount)}`}</title>
            </rect>
          `,
        )}
    </g>
  `;
}

/**
 * Return the next round number: 1, 2 or 5 with zeros.
 * @param {number} most
 */
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= most) ?? 10);
}

/** @param {string} day */
const short = (day) => new Date(`${day}T12:00:00Z`).toLocaleDateString(undefined, { day: "numeric", month: "short" });
