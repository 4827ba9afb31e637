/** In which order tiles stand: pure, so that it can be tried without a page. */

/** Who has just spoken keeps its place for so long. */
const KEPT_MS = 8_000;

/**
 * The places of tiles: in the order of arrival, but for those who begin to speak on a later page. These change places with
 * whoever on the first page has been silent for longest, so that two tiles move and the others stay where they are.
 */
export class TileOrder {
  /** @type {string[]} */
  keys = [];
  /** When each was last heard (performance.now()). @type {Map<string, number>} */
  #heard = new Map();

  /** @param {string[]} keys those that there are now, in the order of arrival */
  update(keys) {
    const present = new Set(keys);
    const known = new Set(this.keys);
    this.keys = [...this.keys.filter((key) => present.has(key)), ...keys.filter((key) => !known.has(key))];
    for (const key of this.#heard.keys()) if (!present.has(key)) this.#heard.delete(key);
  }

  /**
   * Somebody is heard.
   * @param {string} key
   * @param {number} now
   */
  hear(key, now) {
    this.#heard.set(key, now);
  }

  /**
   * Bring a tile among the first.
   * @param {string} key
   * @param {number} first how many are the first
   * @param {(key: string) => boolean} isFixed tiles that stay
   * @param {number} now
   * @param {boolean} atOnce even if everybody there has just spoken
   * @returns {boolean} whether anything has moved
   */
  promote(key, first, isFixed, now, atOnce) {
    const from = this.keys.indexOf(key);
    if (from < first) return false; // there already, or not here
    const candidates = this.keys.slice(0, first).filter((one) => !isFixed(one));
    if (candidates.length === 0) return false;
    const heard = (/** @type {string} */ one) => this.#heard.get(one) ?? -Infinity;
    // Of those who never spoke, the last: the first ones have been in sight for longest.
    const silent = candidates.reduce((best, one) => (heard(one) <= heard(best) ? one : best));
    if (!atOnce && now - heard(silent) < KEPT_MS) return false;
    this.swap(key, silent);
    return true;
  }

  /**
   * @param {string} one
   * @param {string} other
   */
  swap(one, other) {
    const [a, b] = [this.keys.indexOf(one), this.keys.indexOf(other)];
    if (a < 0 || b < 0) return;
    this.keys[a] = other;
    this.keys[b] = one;
  }
}

/**
 * What is on a page. One's own tiles are on the first, at its end.
 * @param {string[]} others
 * @param {string[]} own
 * @param {number} perPage
 * @param {number} page from 0
 * @returns {string[]}
 */
export function tilesOfPage(others, own, perPage, page) {
  const first = firstOthers(own.length, perPage);
  if (page === 0) return [...others.slice(0, first), ...own];
  const start = first + (page - 1) * perPage;
  return others.slice(start, start + perPage);
}

/**
 * @param {number} own how many tiles are one's own
 * @param {number} perPage
 * @returns {number} how many of the others' are on the first page
 */
export const firstOthers = (own, perPage) => Math.max(0, perPage - own);
