/**
 * @import { TileView, ViewRequest, WantedTrack } from "./protocol.js"
 * @import { Roster } from "./roster.js"
 */

/** Windows change their size in many steps, and pages are leafed through: only where it ends is worth a message. */
const SETTLED_MS = 150;
/** The server takes no more. */
const MOST_WANTED = 64;

/** Device pixels. @typedef {{ width: number, height: number }} Size */

/**
 * A picture of somebody else's that has a place on the page.
 * @typedef {object} SeenPicture
 * @property {string} userId
 * @property {string} trackId
 * @property {Size} size
 * @property {boolean} pinned
 */

/**
 * What is before the person's eyes, the most important first.
 * @typedef {object} Sight
 * @property {SeenPicture[]} pictures
 * @property {Size} next the size that one more picture would have
 */

export const HIDDEN = Object.freeze({ width: 0, height: 0 });

/** Tells the server what is looked at, and how large it is: it sends no more than that. */
export class ViewTeller {
  #roster;
  #slots;
  #send;
  /** @type {Sight | null} null: nothing is shown yet */
  #sight = null;
  /** What the server was last told, as text. */
  #told = "";
  /** The server does not know the message. */
  #refused = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {Roster} roster
   * @param {() => string[]} slots mids of the slots for pictures
   * @param {(message: ViewRequest) => void} send
   */
  constructor(roster, slots, send) {
    this.#roster = roster;
    this.#slots = slots;
    this.#send = send;
  }

  /** @param {Sight} sight */
  look(sight) {
    this.#sight = sight;
    this.changed();
  }

  /** Slots carry something else, or there are more of them. */
  changed() {
    if (this.#refused) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tell(), SETTLED_MS);
  }

  /** The server has forgotten, or is another one. */
  forget() {
    clearTimeout(this.#timer);
    this.#told = "";
  }

  /** The server is one that does not know the message. */
  refuse() {
    this.forget();
    this.#refused = true;
  }

  #tell() {
    const sight = this.#sight;
    const slots = this.#slots();
    if (!sight || slots.length === 0) return;
    const seen = new Map(sight.pictures.map((picture) => [`${picture.userId}/${picture.trackId}`, picture]));
    /** @type {TileView[]} */
    const tiles = slots.map((mid) => {
      const slot = this.#roster.slots.get(mid);
      // Whoever comes into a free slot is shown at once, in that size.
      const size = slot ? (seen.get(`${slot.user_id}/${slot.track_id}`)?.size ?? HIDDEN) : sight.next;
      return { mid, width: Math.round(size.width), height: Math.round(size.height) };
    });
    /** @type {WantedTrack[]} */
    const wanted = [...seen.values()].map(({ userId, trackId, pinned }) => ({ user_id: userId, track_id: trackId, pinned }));
    /** @type {ViewRequest} */
    const message = { type: "view", tiles, wanted: wanted.slice(0, MOST_WANTED) };
    const text = JSON.stringify(message);
    if (text === this.#told) return;
    this.#told = text;
    this.#send(message);
  }
}
