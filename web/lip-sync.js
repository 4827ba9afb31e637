/**
 * Keeps pictures with the sounds that were captured with them. Browsers do so by themselves, but slowly: where packets are
 * lost, sound waits for repairs, and a picture with temporal layers, most of which are not repaired, does not. Chromium
 * lengthens the picture's buffer by some 10 ms a second, and they are apart for that long.
 */

/**
 * @import { Call } from "./call.js"
 * @import { Row } from "./stats.js"
 */

/** Buffers are not set anew for less: each change of a picture's makes it a little slower, or faster, for a while. */
const STEP_MS = 20;
/** Sound that waits too long is played faster, imperceptibly: its wait falls by so much a second after the network is better. */
const FALL_MS = 10;
/** Pictures wait for no sound that is later than this: it is a fault, or a network that nobody can talk over. */
const LATEST_MS = 500;

/** @typedef {RTCRtpReceiver & { jitterBufferTarget?: number | null }} Receiver */

export class LipSync {
  #call;
  /** Of each sound's receiver, at the last look. @type {Map<string, { delay: number, emitted: number }>} */
  #before = new Map();
  /** For how many milliseconds the network makes a microphone's sound wait, by user_id. @type {Map<string | null, number>} */
  #waits = new Map();

  /** @param {Call} call */
  constructor(call) {
    this.#call = call;
  }

  /** Have each picture wait for as long as its person's sound does; to be called once a second. */
  async keep() {
    /** @type {Row[]} */
    const rows = [];
    (await this.#call.stats())?.forEach((row) => row.type === "inbound-rtp" && rows.push(row));
    this.#listen(rows.filter(({ kind }) => kind === "audio"));
    for (const { mid, kind } of rows) {
      const slot = this.#call.roster.slots.get(mid);
      const receiver = /** @type {Receiver | null} */ (this.#call.receiver(mid));
      if (kind !== "video" || !receiver || receiver.jitterBufferTarget === undefined) continue;
      const wait = (slot?.source === "camera" && this.#waits.get(slot.user_id)) || 0;
      const set = receiver.jitterBufferTarget ?? 0;
      if (wait < STEP_MS ? set > 0 : Math.abs(wait - set) >= STEP_MS) {
        receiver.jitterBufferTarget = wait < STEP_MS ? null : Math.min(wait, LATEST_MS);
      }
    }
  }

  /** @param {Row[]} sounds */
  #listen(sounds) {
    const before = this.#before;
    const waited = this.#waits;
    this.#before = new Map();
    this.#waits = new Map();
    for (const { id, mid, jitterBufferMinimumDelay: delay, jitterBufferEmittedCount: emitted } of sounds) {
      // Firefox does not tell what the network alone asks for.
      if (delay === undefined) continue;
      this.#before.set(id, { delay, emitted });
      const last = before.get(id);
      const slot = this.#call.roster.slots.get(mid);
      if (last && emitted > last.emitted && slot?.source === "microphone") {
        const wait = (1000 * (delay - last.delay)) / (emitted - last.emitted);
        this.#waits.set(slot.user_id, Math.max(wait, (waited.get(slot.user_id) ?? 0) - FALL_MS));
      }
    }
  }
}
