/** The price, the wait, and the button: always in sight below the form. */

import { chosenModel, draft } from "../state/draft.js";
import { estimate, isEnabled, price, total } from "../state/estimate.js";
import { sending } from "../state/order.js";
import { isShort, problems } from "../state/problems.js";
import { couldNotLoad, credits } from "../state/session.js";
import { html } from "../view.js";
import { plural, roughly } from "../words.js";

export function OrderButton() {
  const problem = isEnabled.value ? problems.value.form : "This is switched off on this server at the moment.";
  return html`
    <div class="order">
      <p class="problem" role="alert" hidden=${!problem}>${problem}</p>
      <div class="terms"><${Price} /><${Wait} /></div>
      <button
        type="submit"
        class="primary"
        title="Ctrl+Enter in the form"
        aria-disabled=${!isEnabled.value || isShort.value || sending.value !== null}
        aria-describedby="price"
      >
        ${label()}
      </button>
    </div>
  `;
}

function label() {
  const { count } = draft.value;
  if (sending.value) return `Sending ${Math.min(sending.value.sent + 1, sending.value.of)} of ${sending.value.of} …`;
  return count === 1 ? "Generate" : `Generate ${count}`;
}

function Price() {
  const { count } = draft.value;
  const sum = plural(total.value, "credit");
  if (isShort.value) {
    return html`<p key="short" id="price" class="price short" role="alert">
      <b>${sum}</b>, and you have ${credits.value?.balance ?? 0}: ask the operator for more
    </p>`;
  }
  return html`<p key="price" id="price" class="price"><b>${sum}</b>${count > 1 && html` <span>${count} × ${price.value}</span>`}</p>`;
}

function Wait() {
  const found = estimate.value;
  const model = chosenModel.value?.name;
  if (couldNotLoad(model)) {
    return html`<p class="wait">${model} could not be loaded. It is tried again for your picture; if that fails, it costs nothing.</p>`;
  }
  if (!found) return null;
  const place = found.queue_position ? `${plural(found.queue_position, "picture")} ahead, ` : "";
  const which = draft.value.count > 1 ? "the first" : "ready";
  return html`<p class="wait">${place}${which} in about ${roughly(found.estimated_seconds)}</p>`;
}
