/** The studio page. It opens with a key from its address or from an earlier visit. */

import { App } from "./parts/app.js";
import "./parts/landing.js";
import "./state/live.js";
import { enter, keptKey, keyFromAddress, watchReadiness } from "./state/session.js";
import { html, render } from "./view.js";

const root = document.getElementById("root");
if (!root) throw new Error("The page has no #root");

addEventListener("hashchange", () => {
  const key = keyFromAddress();
  if (key) void enter(key);
});

const key = keyFromAddress() || keptKey();
if (key) void enter(key);
void watchReadiness();
render(html`<${App} />`, root);
