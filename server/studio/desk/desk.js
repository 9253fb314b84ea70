/** The desk: what the operator sees of the server, and does about it. It opens with a key that has `admin`. */

import "../parts/landing.js";
import { html, render } from "../view.js";
import { Desk } from "./page.js";
import { enter, keyFromAddress, keptKey } from "./session.js";

const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root");

addEventListener("hashchange", () => {
  const key = keyFromAddress();
  if (key) void enter(key);
});

const key = keyFromAddress() || keptKey();
if (key) void enter(key);
render(html`<${Desk} />`, root);
