/** Colours as people write and name them. The server is sent `#rrggbb`. */

/** @typedef {{hex: string, name: string}} Color  `hex` is `#rrggbb` in lower case; `name` is what people call it */

const context = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/** Everyday names, also for colours that were picked. They are few, so that each says something. */
const NAMED = Object.entries({
  black: "#000000", charcoal: "#36454f", grey: "#808080", silver: "#c0c0c0", white: "#ffffff", ivory: "#fffff0",
  cream: "#f4e9d8", beige: "#d9c4a3", sand: "#c2b280", tan: "#b08d57", brown: "#6b4423", chocolate: "#3b2417",
  terracotta: "#c66b3d", rust: "#a8441c", orange: "#f28c28", apricot: "#f7b98b", gold: "#d4a017", mustard: "#c99a1e",
  yellow: "#f5d90a", lemon: "#fff38a", olive: "#6b7a2a", lime: "#9acd32", "sage": "#a3b18a", green: "#2e8b3d",
  mint: "#a8e0c8", forest: "#1f4d2b", teal: "#1f7a7a", turquoise: "#40c8c0", "sky blue": "#8cc4e8", blue: "#2456c4",
  navy: "#14254d", "slate": "#5b6b7f", indigo: "#3f3a8c", lavender: "#b9a9e0", purple: "#6f2da8", plum: "#5a2a4f",
  magenta: "#c2188f", pink: "#f4a6c0", rose: "#d9707f", blush: "#eecfc8", salmon: "#f08a78", red: "#cc2222",
  burgundy: "#6d1a2d", mauve: "#9a7b8f", taupe: "#8b7e74", stone: "#b8b0a4",
});

/**
 * Return a colour that was written in any way that CSS knows, or by an everyday name; null if it was not.
 * @param {string} text
 * @returns {Color | null}
 */
export function colorOf(text) {
  const wanted = text.trim().toLowerCase();
  const everyday = NAMED.find(([name]) => name === wanted)?.[1];
  const hex = hexOf(wanted) ?? everyday ?? (/^[0-9a-f]{6}$/.test(wanted) ? hexOf(`#${wanted}`) : null);
  if (!hex) return null;
  return { hex, name: everyday || /^[a-z]+$/.test(wanted) ? wanted : nameOf(hex) };
}

/**
 * Return a CSS colour without transparency as `#rrggbb`; null if it is none.
 * @param {string} text
 */
function hexOf(text) {
  if (!/^(#|[a-z])/.test(text) || !CSS.supports("color", text)) return null;
  context.fillStyle = "#010203";
  context.fillStyle = text;
  const found = context.fillStyle;
  // A keyword such as `currentcolor` leaves the colour that was there.
  return found.startsWith("#") && (found !== "#010203" || text.startsWith("#") || text.startsWith("rgb")) ? found : null;
}

/**
 * Return the everyday name that is nearest to a colour.
 * @param {string} hex
 */
function nameOf(hex) {
  let best = "";
  let least = Infinity;
  for (const [name, other] of NAMED) {
    const far = distance(hex, other);
    if (far < least) [best, least] = [name, far];
  }
  return best;
}

/**
 * Return how different two colours look: the weighted RGB distance of Riemersma's low-cost approximation (compuphase, 2012).
 * @param {string} one
 * @param {string} other
 */
function distance(one, other) {
  const [r1, g1, b1] = channels(one);
  const [r2, g2, b2] = channels(other);
  const red = (r1 + r2) / 2;
  return (2 + red / 256) * (r1 - r2) ** 2 + 4 * (g1 - g2) ** 2 + (2 + (255 - red) / 256) * (b1 - b2) ** 2;
}

/**
 * @param {string} hex
 * @returns {[number, number, number]}
 */
function channels(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/**
 * Return the colours in a text that lists several, such as a palette that was pasted; null if a part of it is no colour.
 * @param {string} text
 */
export function colorsIn(text) {
  const whole = colorOf(text);
  if (whole) return [whole];
  const parts = text.split(/[\s,;]+(?![^(]*\))/).filter(Boolean).map(colorOf);
  return parts.length && parts.every((part) => part !== null) ? parts : null;
}
