/**
 * The messages of the WebSocket, flat form: their types, and the check that what arrives has the shape it claims.
 * docs/protocol.md is the contract; nothing else in the client looks at raw JSON.
 */

/** The server's own id on the wire: `from` of its offers and answers. */
export const SERVER_ID = "sfu";

/** Close codes of the WebSocket that call for something else than opening it again at once. */
export const CloseCode = Object.freeze({
  /** A newer WebSocket of the same user took over. */
  REPLACED: 4001,
  /** The user left or was removed. */
  LEFT: 4002,
  /** Not joined, or the grace time has passed: join again. */
  UNKNOWN_PARTICIPANT: 4004,
  /** Too many messages. */
  RATE_LIMITED: 4005,
  /** The server does not take this client for the user that it names: join again, as another one. */
  INVALID_SECRET: 4006,
});

/** @typedef {"camera" | "microphone" | "screen" | "screen-audio"} Source */

/** @typedef {{ track_id: string, source: Source, muted: boolean }} TrackInfo */

/**
 * @typedef {object} ParticipantInfo
 * @property {string} user_id
 * @property {string} user_name
 * @property {boolean} is_online
 * @property {TrackInfo[]} tracks
 */

/**
 * Which track an m-section carries from now on; nobody's when `user_id` is null.
 * @typedef {object} SlotChange
 * @property {string} mid
 * @property {string | null} user_id
 * @property {string | null} track_id
 * @property {Source | null} source
 * @property {boolean} muted
 */

/**
 * @typedef {object} RoomState
 * @property {"room-state"} type
 * @property {string} room_id
 * @property {string} user_id
 * @property {ParticipantInfo[]} participants
 * @property {RTCIceServer[]} ice_servers
 */

/** @typedef {{ type: "user-joined", user_id: string, user_name: string }} UserJoined */
/** @typedef {{ type: "user-left", user_id: string }} UserLeft */
/** @typedef {{ type: "track-published", user_id: string } & TrackInfo} TrackPublished */
/** @typedef {{ type: "track-unpublished", user_id: string, track_id: string }} TrackUnpublished */
/** @typedef {{ type: "track-muted", user_id: string, track_id: string, muted: boolean }} TrackMuted */
/** @typedef {{ type: "slots", changes: SlotChange[] }} Slots */
/** @typedef {{ type: "dominant-speaker", user_id: string | null }} DominantSpeaker */
/** The level in dBov: -127 is silence, 0 as loud as it gets. @typedef {{ user_id: string, level: number }} AudioLevel */
/** @typedef {{ type: "audio-levels", levels: AudioLevel[] }} AudioLevels */
/**
 * Why a slot gets what it gets, see docs/protocol.md.
 * @typedef {"best" | "tile" | "link" | "publisher" | "keyframe" | "hidden" | "source"} Reason
 */
/**
 * What a slot gets of its track. Sizes in pixels, rates in bit/s; spatial and temporal are null while nothing is sent.
 * @typedef {object} SlotQuality
 * @property {string} mid
 * @property {boolean} paused
 * @property {number | null} [width]
 * @property {number | null} [height]
 * @property {Reason} reason
 * @property {Record<string, number> | null} [detail] numbers that belong to the reason
 */
/** @typedef {{ type: "slot-quality", slots: SlotQuality[] }} SlotQualities */
/** What somebody takes of a track of ours now. @typedef {{ track_id: string, rids: string[], spatial: number }} WantedLayers */
/** @typedef {{ type: "layers-wanted", tracks: WantedLayers[] }} LayersWanted */
/** @typedef {{ type: "offer" | "answer", from: string, sdp: string }} Description */
/**
 * The last two only where it is about a track: `codec-unsupported`.
 * @typedef {{ type: "error", code: string, message: string, request: string | null, user_id?: string, track_id?: string }}
 *   ErrorMessage
 */

/**
 * @typedef {RoomState | UserJoined | UserLeft | TrackPublished | TrackUnpublished | TrackMuted | Slots | DominantSpeaker
 *   | AudioLevels | SlotQualities | LayersWanted | Description | ErrorMessage} ServerMessage
 */

/** @typedef {{ type: "join", user_id: string, user_name: string, delivery: "slots" }} JoinRequest */
/** @typedef {{ type: "offer", to: string, sdp: string, sources: Record<string, Source> }} OfferRequest */
/** @typedef {{ type: "answer", to: string, sdp: string }} AnswerRequest */
/** @typedef {{ type: "track-muted", track_id: string, muted: boolean }} MuteRequest */
/** How large the tile of a slot is, in device pixels; 0 by 0: not to be seen. @typedef {{ mid: string, width: number, height: number }} TileView */
/** @typedef {{ user_id: string, track_id: string, pinned: boolean }} WantedTrack */
/** @typedef {{ type: "view", tiles: TileView[], wanted: WantedTrack[] }} ViewRequest */
/** @typedef {JoinRequest | OfferRequest | AnswerRequest | MuteRequest | ViewRequest} ClientMessage */

const SOURCES = new Set(["camera", "microphone", "screen", "screen-audio"]);
const REASONS = new Set(["best", "tile", "link", "publisher", "keyframe", "hidden", "source"]);

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** @param {unknown} value */
const isString = (value) => typeof value === "string";
/** @param {unknown} value */
const isStringOrNull = (value) => value === null || isString(value);
/** @param {unknown} value */
const isStringOrMissing = (value) => value === undefined || isString(value);
/** @param {unknown} value */
const isBoolean = (value) => typeof value === "boolean";
/** @param {unknown} value */
const isSource = (value) => isString(value) && SOURCES.has(/** @type {string} */ (value));

/** @param {unknown} value */
const isTrack = (value) =>
  isObject(value) && isString(value.track_id) && isSource(value.source) && isBoolean(value.muted);

/** @param {unknown} value */
const isParticipant = (value) =>
  isObject(value) &&
  isString(value.user_id) &&
  isString(value.user_name) &&
  isBoolean(value.is_online) &&
  Array.isArray(value.tracks) &&
  value.tracks.every(isTrack);

/** @param {unknown} value */
const isSlotChange = (value) =>
  isObject(value) &&
  isString(value.mid) &&
  isStringOrNull(value.user_id) &&
  isStringOrNull(value.track_id) &&
  (value.source === null || isSource(value.source)) &&
  isBoolean(value.muted);

/** @param {unknown} value */
const isAudioLevel = (value) => isObject(value) && isString(value.user_id) && typeof value.level === "number";

/** @param {unknown} value */
const isNumberOrMissing = (value) => value === undefined || value === null || typeof value === "number";

/** @param {unknown} value */
const isSlotQuality = (value) =>
  isObject(value) &&
  isString(value.mid) &&
  isBoolean(value.paused) &&
  isNumberOrMissing(value.width) &&
  isNumberOrMissing(value.height) &&
  REASONS.has(/** @type {string} */ (value.reason)) &&
  (value.detail === undefined || value.detail === null || isObject(value.detail));

/** @param {unknown} value */
const isLayersWanted = (value) =>
  isObject(value) &&
  isString(value.track_id) &&
  Array.isArray(value.rids) &&
  value.rids.every(isString) &&
  typeof value.spatial === "number";

/** @type {Record<string, (message: Record<string, unknown>) => boolean>} */
const CHECKS = {
  "room-state": (m) =>
    isString(m.room_id) &&
    isString(m.user_id) &&
    Array.isArray(m.participants) &&
    m.participants.every(isParticipant) &&
    Array.isArray(m.ice_servers),
  "user-joined": (m) => isString(m.user_id) && isString(m.user_name),
  "user-left": (m) => isString(m.user_id),
  "track-published": (m) => isString(m.user_id) && isTrack(m),
  "track-unpublished": (m) => isString(m.user_id) && isString(m.track_id),
  "track-muted": (m) => isString(m.user_id) && isString(m.track_id) && isBoolean(m.muted),
  slots: (m) => Array.isArray(m.changes) && m.changes.every(isSlotChange),
  "dominant-speaker": (m) => isStringOrNull(m.user_id),
  "audio-levels": (m) => Array.isArray(m.levels) && m.levels.every(isAudioLevel),
  "slot-quality": (m) => Array.isArray(m.slots) && m.slots.every(isSlotQuality),
  "layers-wanted": (m) => Array.isArray(m.tracks) && m.tracks.every(isLayersWanted),
  offer: (m) => isString(m.from) && isString(m.sdp),
  answer: (m) => isString(m.from) && isString(m.sdp),
  error: (m) =>
    isString(m.code) &&
    isString(m.message) &&
    (m.request === undefined || isStringOrNull(m.request)) &&
    isStringOrMissing(m.user_id) &&
    isStringOrMissing(m.track_id),
};

/**
 * A message of the server, or null for one that this client does not know: extensions are additive, so an unknown type
 * is not a fault, and a known type of the wrong shape is no use.
 * @param {unknown} data what the WebSocket delivered
 * @returns {ServerMessage | null}
 */
export function parseServerMessage(data) {
  if (typeof data !== "string") return null;
  /** @type {unknown} */
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isObject(message) || typeof message.type !== "string" || !Object.hasOwn(CHECKS, message.type)) return null;
  if (!CHECKS[message.type]?.(message)) {
    console.warn("The server sent a malformed message", message.type);
    return null;
  }
  return /** @type {ServerMessage} */ (/** @type {unknown} */ (message));
}
