/** Small helpers for building the page. Nothing from the server is ever parsed as HTML. */

/**
 * Return the element with this id.
 * @overload
 * @param {string} id
 * @returns {HTMLElement}
 */
/**
 * Return the element with this id, which is of this kind.
 * @template {HTMLElement} T
 * @overload
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
/**
 * @param {string} id
 * @param {new () => HTMLElement} kind
 */
export function byId(id, kind = HTMLElement) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`The page has no ${kind.name} #${id}`);
  return found;
}

/**
 * Make an element. `on…` adds a listener; what the element has as a property is set as one, the rest as attributes.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props]
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) Reflect.set(node, name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/**
 * Make a small square of a colour.
 * @param {string} color  as CSS writes it
 */
export function patch(color) {
  const square = el("span", { className: "patch" });
  square.style.background = color;
  return square;
}

/**
 * Show a text; hide the element if the text is empty.
 * @param {HTMLElement} node
 * @param {string} text
 */
export function tell(node, text) {
  node.textContent = text;
  node.hidden = !text;
}

/**
 * Tell a text to people who listen to the page with a screen reader.
 * @param {string} text
 */
export function announce(text) {
  byId("news").textContent = text;
}

/**
 * Show a picture by its signed link. If it does not load, the link is renewed once.
 * @param {HTMLImageElement} image
 * @param {string} url
 * @param {() => Promise<string>} renew  reads a fresh link
 * @param {() => void} [onLost]  after the second failure
 */
export function show(image, url, renew, onLost = () => {}) {
  image.onerror = async () => {
    image.onerror = onLost;
    try {
      image.src = sameOrigin(await renew());
    } catch {
      onLost();
    }
  };
  image.src = sameOrigin(url);
}

/**
 * Return a link without its host: it carries the name that the server knows itself by, which the browser may not reach.
 * @param {string} url
 */
export function sameOrigin(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}

/**
 * `marble` → `1 picture`, `2 pictures`.
 * @param {number} count
 * @param {string} noun
 */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
