/** The actions on one picture. Those that take it off the list go on to the next one. */

import * as calls from "../api/calls.js";
import { ofThisHost } from "../api/http.js";
import { closePicture, linkTo } from "../state/address.js";
import { fill } from "../state/draft.js";
import { sendOne } from "../state/order.js";
import { models } from "../state/session.js";
import { favour, move, remove } from "../state/selection.js";
import { tell, tellError } from "../state/toasts.js";
import { html, useMemo } from "../view.js";
import { plural } from "../words.js";
import { openComposer } from "./composer.js";
import { Icon } from "./icon.js";
import { useOffer } from "./offer.js";
import { copy, fileName, save } from "./save.js";

/**
 * @typedef {import("../api/types.js").Entry} Entry
 * @typedef {import("../api/types.js").Job} Job
 */

/** @param {{entry: Entry, job: Job | null, goOn: (work: () => void) => void}} props */
export function Actions({ entry, job, goOn }) {
  const isArchived = entry.status === "archived";
  const larger = job && largerTier(entry.model, job.request.resolution);
  /** @param {() => void} work */
  const andClose = (work) => async () => {
    await closePicture();
    work();
  };
  /** @param {Partial<import("../api/types.js").Request>} changes */
  const use = (changes) => {
    if (!job) return;
    fill({ ...job.request, image_model: entry.model, seed: entry.seed, ...changes });
    openComposer();
  };
  return html`
    <div class="actions">
      <button type="button" class="primary" disabled=${!job} onClick=${andClose(() => use({}))}>Use as it was</button>
      <button type="button" disabled=${!job} title="Everything but the seed" onClick=${andClose(() => use({ seed: null }))}>Use with a new seed</button>
      <${Vary} key=${job?.public_id} entry=${entry} job=${job} />
      ${larger &&
      html`<button type="button" onClick=${andClose(() => use({ resolution: larger }))}>Make it larger, ${larger}</button>`}
      <a class="button" href=${ofThisHost(entry.image_url)} download=${fileName(entry)} onClick=${download(entry)}>
        <${Icon} name="download" />Download
      </a>
      <button type="button" onClick=${(/** @type {{currentTarget: HTMLElement}} */ event) => void copyLink(entry, event.currentTarget)}>
        <${Icon} name="link" />Copy link
      </button>
      <button type="button" class="toggle" aria-pressed=${entry.favourite} onClick=${() => void favour([entry], !entry.favourite)}>
        <${Icon} name="star" />Favourite
      </button>
      <button type="button" onClick=${() => goOn(() => void move([entry], isArchived ? "active" : "archived"))}>
        <${Icon} name="archive" />${isArchived ? "Unarchive" : "Archive"}
      </button>
      <button type="button" title="Delete (Del)" onClick=${() => goOn(() => remove([entry]))}><${Icon} name="trash" />Delete</button>
    </div>
  `;
}

/**
 * Return the tier above the one that a picture was made in, if its model offers one.
 * @param {string} name
 * @param {string | null | undefined} tier
 */
function largerTier(name, tier) {
  const model = models.value.find((offered) => offered.name === name);
  const tiers = [...(model?.tiers ?? [])].sort((a, b) => parseFloat(a) - parseFloat(b));
  const now = parseFloat(tier ?? model?.default_tier ?? "");
  return tiers.find((offered) => parseFloat(offered) > now) ?? null;
}

/** Offer one more like this, with another seed, for the price that the button shows. @param {{entry: Entry, job: Job | null}} props */
function Vary({ entry, job }) {
  const workflow = entry.kind === "images" ? "image-generation" : "background-generator";
  // Keep one object: an order whose outcome is not known is found again by it.
  const request = useMemo(
    () => job && { ...job.request, seed: null, metadata: {}, ...(entry.kind === "images" && { n: 1 }) },
    [job],
  );
  const { cost, isSending, order } = useOffer(
    async () => request && calls.estimate(workflow, request),
    async (shown) => {
      if (request) await sendOne(workflow, request, shown);
    },
  );
  return html`
    <button type="button" disabled=${cost === null} aria-disabled=${isSending} title="The same settings with another seed" onClick=${() => void order()}>
      <${Icon} name="vary" />Vary ${cost !== null && html`<small>${plural(cost, "credit")}</small>`}
    </button>
  `;
}

/**
 * Save the picture by a fresh link: the one on the page may have expired.
 * @param {Entry} entry
 */
const download = (entry) => async (/** @type {Event} */ event) => {
  event.preventDefault();
  await calls.picture(entry).then(
    (blob) => save(blob, fileName(entry)),
    tellError,
  );
};

/**
 * @param {Entry} entry
 * @param {HTMLElement} button
 */
async function copyLink(entry, button) {
  const link = linkTo(entry.public_id);
  const done = "The link is on the clipboard. It opens for everybody who has a key of this client.";
  tell((await copy(link, button)) ? done : `This browser did not allow it. The link is ${link}`);
}
