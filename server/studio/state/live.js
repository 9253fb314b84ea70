/** Keeps the page up to date while it is open, by the events of all of the client's jobs. */

import * as calls from "../api/calls.js";
import { follow, latestCursor } from "../api/events.js";
import { batch, effect } from "../view.js";
import { readNewest } from "./catalogue.js";
import { refreshSoon } from "./estimate.js";
import * as jobs from "./jobs.js";
import { meet, phase, readCreditsSoon, readOffers, readReadinessSoon } from "./session.js";

/** @typedef {import("../api/types.js").ClientEvent} ClientEvent */

/** Milliseconds in which news gather before the server is asked for more. */
const GATHER_MS = 150;
const PLACES_MS = 2500;

/** @type {AbortController | null} */
let following = null;
/** Ids of jobs that events told of and that are not followed yet. @type {Set<string>} */
const strangers = new Set();
let strangersTimer = 0;
let newestTimer = 0;
let placesTimer = 0;

effect(() => {
  if (phase.value === "open") void start();
  else stop();
});

async function start() {
  stop();
  const mine = new AbortController();
  following = mine;
  watchPlaces(mine.signal);
  try {
    await follow(begin, hear, mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) meet(error);
  }
}

/** Read how the jobs stand, and return a cursor from before that, after which to follow events. */
async function begin() {
  const cursor = await latestCursor();
  await jobs.load();
  return cursor;
}

function stop() {
  following?.abort();
  following = null;
  [placesTimer, strangersTimer, newestTimer].forEach(clearTimeout);
  strangersTimer = newestTimer = 0;
  strangers.clear();
  jobs.clear();
}

/** @param {ClientEvent[]} events */
function hear(events) {
  batch(() => events.forEach(hearOne));
}

/** @param {ClientEvent} event */
function hearOne(event) {
  if (!jobs.hear(event.job_public_id, event) && event.event_type !== "succeeded") {
    strangers.add(event.job_public_id);
    strangersTimer ||= setTimeout(() => void meetStrangers(), GATHER_MS);
  }
  if (event.stage === "loading" || event.stage === "retrying" || event.event_type === "failed") readReadinessSoon();
  if (event.event_type === "stage") return;
  readCreditsSoon();
  refreshSoon();
  if (event.event_type === "succeeded") newestTimer ||= setTimeout(() => void showNewest(), GATHER_MS);
}

/** Read the jobs that events told of and that are not followed yet. */
async function meetStrangers() {
  strangersTimer = 0;
  const ids = [...strangers].slice(0, calls.MOST_JOBS);
  ids.forEach((id) => strangers.delete(id));
  if (strangers.size) strangersTimer = setTimeout(() => void meetStrangers(), GATHER_MS);
  try {
    const found = await calls.jobs({ ids });
    batch(() => found.forEach(jobs.take));
  } catch (error) {
    meet(error);
  }
}

/** Show finished pictures in the catalogue, and then drop their jobs, so that each picture is shown once. */
async function showNewest() {
  newestTimer = 0;
  await readNewest();
  jobs.dropDone();
}

/** @param {AbortSignal} signal */
function watchPlaces(signal) {
  if (signal.aborted) return;
  placesTimer = setTimeout(async () => {
    if (!document.hidden) await jobs.readPlaces().catch(meet);
    // A job that was sent again may have ended before it was followed: no event will say so.
    if (jobs.isAnyDone()) newestTimer ||= setTimeout(() => void showNewest(), GATHER_MS);
    watchPlaces(signal);
  }, PLACES_MS);
}

/** When the user comes back to the page, prices, models and the balance may have changed. */
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && phase.value === "open") readOffers().catch(meet);
});
