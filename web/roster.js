/**
 * @import { RoomState, ServerMessage, SlotChange, SlotQuality, TrackInfo } from "./protocol.js"
 */

/**
 * @typedef {object} Participant
 * @property {string} userId
 * @property {string} name
 * @property {boolean} online
 * @property {Map<string, TrackInfo>} tracks by track_id
 */

/** Who is in the room, what they publish, which slot carries it and who speaks: the server's messages added up. */
export class Roster {
  selfId = "";
  /** @type {Map<string, Participant>} by user_id, in the order of arrival */
  participants = new Map();
  /** @type {Map<string, SlotChange>} by mid; free slots are not in it */
  slots = new Map();
  /** What those slots get, and why; by mid. @type {Map<string, SlotQuality>} */
  quality = new Map();
  /** user_id of who has the floor; stays so in silence. @type {string | null} */
  dominant = null;
  /** How loud those are who are audible now (dBov), by user_id; oneself may be among them. @type {Map<string, number>} */
  levels = new Map();
  /** Tracks in a codec that this browser does not have: "user_id/track_id". @type {Set<string>} */
  #unsupported = new Set();

  /** @param {RoomState} state */
  reset(state) {
    this.selfId = state.user_id;
    this.clearSpeakers();
    this.participants = new Map(
      state.participants.map((p) => [
        p.user_id,
        {
          userId: p.user_id,
          name: p.user_name,
          online: p.is_online,
          tracks: new Map(p.tracks.map((track) => [track.track_id, track])),
        },
      ]),
    );
  }

  /** A new connection has new slots. */
  clearSlots() {
    this.slots.clear();
    this.quality.clear();
    this.#unsupported.clear();
  }

  /** Nobody tells who speaks any more, or not yet. */
  clearSpeakers() {
    this.dominant = null;
    this.levels.clear();
  }

  /** @param {ServerMessage} message any; those that do not concern the roster change nothing */
  apply(message) {
    switch (message.type) {
      case "room-state":
        this.reset(message);
        break;
      case "user-joined":
        // A client that joins again (new WebSocket) keeps its tracks.
        this.#participant(message.user_id, message.user_name).online = true;
        break;
      case "user-left":
        this.participants.delete(message.user_id);
        break;
      case "track-published": {
        const { user_id, track_id, source, muted } = message;
        this.#participant(user_id).tracks.set(track_id, { track_id, source, muted });
        break;
      }
      case "track-unpublished":
        this.participants.get(message.user_id)?.tracks.delete(message.track_id);
        this.#unsupported.delete(`${message.user_id}/${message.track_id}`);
        break;
      case "error":
        if (message.code === "codec-unsupported") this.#unsupported.add(`${message.user_id}/${message.track_id}`);
        break;
      case "track-muted": {
        const tracks = this.participants.get(message.user_id)?.tracks;
        const track = tracks?.get(message.track_id);
        if (track) tracks?.set(message.track_id, { ...track, muted: message.muted });
        break;
      }
      case "dominant-speaker":
        this.dominant = message.user_id;
        break;
      case "audio-levels":
        this.levels = new Map(message.levels.map(({ user_id, level }) => [user_id, level]));
        break;
      case "slots":
        for (const change of message.changes) {
          const { user_id, track_id } = this.slots.get(change.mid) ?? {};
          if (user_id !== change.user_id || track_id !== change.track_id) this.quality.delete(change.mid);
          if (change.user_id === null) this.slots.delete(change.mid);
          else this.slots.set(change.mid, change);
        }
        break;
      case "slot-quality":
        for (const slot of message.slots) this.quality.set(slot.mid, slot);
        break;
      default:
    }
  }

  /**
   * @param {string} userId
   * @param {string} trackId
   * @returns {string | null} mid of the slot that carries that track now
   */
  midOf(userId, trackId) {
    for (const [mid, slot] of this.slots) {
      if (slot.user_id === userId && slot.track_id === trackId) return mid;
    }
    return null;
  }

  /**
   * @param {string} userId
   * @param {string} trackId
   * @returns {boolean} whether the server told that this browser has no codec for it
   */
  isUnsupported(userId, trackId) {
    return this.#unsupported.has(`${userId}/${trackId}`);
  }

  /**
   * @param {string} userId
   * @param {string} [name]
   */
  #participant(userId, name) {
    let participant = this.participants.get(userId);
    if (!participant) {
      participant = { userId, name: name ?? userId, online: true, tracks: new Map() };
      this.participants.set(userId, participant);
    }
    if (name !== undefined) participant.name = name;
    return participant;
  }
}
