/**
 * @import { LocalMedia } from "./media.js"
 * @import { MuteRequest, Source, TrackInfo } from "./protocol.js"
 * @import { Roster } from "./roster.js"
 */

/** Tells the others what is muted: the server is told of each track once, and again when that changes. */
export class MuteTeller {
  /** What the server was last told, by source. @type {Map<Source, boolean>} */
  #told = new Map();
  #roster;
  #media;
  #send;

  /**
   * @param {Roster} roster
   * @param {LocalMedia} media
   * @param {(message: MuteRequest) => void} send
   */
  constructor(roster, media, send) {
    this.#roster = roster;
    this.#media = media;
    this.#send = send;
  }

  /** The roster has just come from the server: what it says of our own tracks is what the server knows. */
  reset() {
    this.forget();
    for (const { source, muted } of this.#ownTracks()) this.#told.set(source, muted);
  }

  /** Whatever is published from now on is another track. */
  forget() {
    this.#told.clear();
  }

  /** The server knows tracks of ours. */
  get isKnown() {
    return this.#told.size > 0;
  }

  /** @param {Source[]} sources what is published */
  tell(sources) {
    for (const source of sources) {
      const muted = (source === "microphone" || source === "camera") && !this.#media.isOn(source);
      if ((this.#told.get(source) ?? false) === muted) continue;
      this.#told.set(source, muted);
      this.#send({ type: "track-muted", track_id: this.#trackId(source), muted });
    }
  }

  /** @returns {TrackInfo[]} */
  #ownTracks() {
    return [...(this.#roster.participants.get(this.#roster.selfId)?.tracks.values() ?? [])];
  }

  /** @param {Source} source */
  #trackId(source) {
    // The first track of a source is called like it.
    return this.#ownTracks().find((track) => track.source === source)?.track_id ?? source;
  }
}
