/** The whole page: the bar, then either the question for a key or the studio. */

import { pausedUntil } from "../api/http.js";
import { address } from "../state/address.js";
import { left } from "../state/jobs.js";
import { phase, readiness, silence } from "../state/session.js";
import { computed, effect, html, useEffect, useState } from "../view.js";
import { explainReadiness } from "../words.js";
import { Bar } from "./bar.js";
import { Catalogue } from "./catalogue.js";
import { Compare } from "./compare.js";
import { Composer, isSheetOpen } from "./composer.js";
import { Failures } from "./failures.js";
import { Toasts } from "./toasts.js";
import { Viewer } from "./viewer.js";
import { Welcome } from "./welcome.js";

const isDialogOpen = computed(
  () => phase.value === "open" && (isSheetOpen.value || Boolean(address.value.picture || address.value.compare.length)),
);

effect(() => {
  document.title = left.value ? `(${left.value}) Backlot` : "Backlot";
});

export const App = () => html`
  <${Bar} />
  ${phase.value === "open" ? html`<${Studio} />` : html`<${Notice} /><${Welcome} />`}
  ${!isDialogOpen.value && html`<${Toasts} />`}
`;

const Studio = () => html`
  <main class="studio">
    <h1 class="unseen">Backlot studio</h1>
    <${Composer} />
    <div class="pictures">
      <${Notice} />
      <div class="work">
        <${Failures} />
        <${Catalogue} />
      </div>
    </div>
    <${Viewer} />
    <${Compare} />
  </main>
`;

/** Say what keeps pictures from being made, for as long as it does. */
function Notice() {
  const pause = usePause();
  const state = readiness.value;
  const waits = phase.value === "entering" ? "The studio opens by itself" : "This goes on by itself";
  const isPausing = !silence.value && pause > 0;
  const text =
    silence.value ||
    (isPausing && `There were too many requests with this key in the last minute. ${waits}`) ||
    (state ? explainReadiness(state) : "");
  return html`
    <div role="status">
      ${text && html`<p class="notice">${text}${isPausing && html`<span aria-hidden="true"> in ${pause} s</span>.`}</p>`}
    </div>
  `;
}

/** Return the seconds for which the key's rate limit still holds requests back, as they pass. */
function usePause() {
  const until = pausedUntil.value;
  const [, tick] = useState(0);
  useEffect(() => {
    if (!until) return undefined;
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [until]);
  return until ? Math.max(1, Math.ceil((until - Date.now()) / 1000)) : 0;
}
