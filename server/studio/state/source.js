/** One kind of catalogue entries, read page by page, newest first. */

import * as calls from "../api/calls.js";

/**
 * @typedef {import("../api/types.js").Entry} Entry
 * @typedef {import("../api/types.js").Kind} Kind
 */

const FIRST_PAGE = 60;
const PAGE = 200;

export class Source {
  /**
   * @param {Kind} kind
   * @param {calls.EntryQuery} query
   */
  constructor(kind, query) {
    this.kind = kind;
    this.query = query;
    /** Entries that were read and not yet taken, newest first. @type {Entry[]} */
    this.waiting = [];
    /** How many were read, and are still in the catalogue: where the next page begins. */
    this.read = 0;
    this.total = Infinity;
  }

  get isExhausted() {
    return this.waiting.length === 0 && this.read >= this.total;
  }

  /** Read the next page if nothing waits. */
  async fill() {
    while (this.waiting.length === 0 && this.read < this.total) {
      const limit = this.read ? PAGE : FIRST_PAGE;
      const { entries, total } = await calls.entries(this.kind, this.query, limit, this.read);
      this.total = entries.length ? total : Math.min(total, this.read);
      this.read += entries.length;
      this.waiting = entries;
    }
  }

  /**
   * Read the entries that are newer than all that were read.
   * @param {ReadonlySet<string>} known  the ids of those that were taken
   * @returns {Promise<Entry[]>}  newest first
   */
  async newest(known) {
    /** @type {Entry[]} */
    const fresh = [];
    const waiting = new Set(this.waiting.map((entry) => entry.public_id));
    for (let offset = 0; ; offset += FIRST_PAGE) {
      const { entries, total } = await calls.entries(this.kind, this.query, FIRST_PAGE, offset);
      this.total = total;
      const end = entries.findIndex(({ public_id }) => known.has(public_id) || waiting.has(public_id));
      fresh.push(...(end < 0 ? entries : entries.slice(0, end)));
      if (end >= 0 || entries.length < FIRST_PAGE) break;
    }
    this.read += fresh.length;
    return fresh;
  }

  /** @param {number} by  how many of those that were taken came back, or, below 0, left the catalogue */
  count(by) {
    this.read += by;
    this.total += by;
  }
}
