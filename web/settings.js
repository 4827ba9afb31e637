/**
 * What is remembered: preferences (localStorage), the call that this tab is in (sessionStorage), and what the address asks
 * for. Query parameters, for kiosks and tests; none of them is remembered:
 *
 *   name=Ann              the name, also in the prejoin page
 *   join=now              skip the prejoin page
 *   microphone=on|off     start with it on or off
 *   camera=on|off         start with it on or off
 *   processing=off        no echo cancellation, noise suppression and gain control
 *   quality=720|360|180   lines of the camera's picture
 *   codec=vp8|vp9|h264|av1  video codec to send where the browser can
 */

const PREFERENCES_KEY = "zvonim";
const CALL_KEY = "zvonim-call";
/** A tab that comes back later than this asks before it joins; the server's grace time is shorter. */
const RESUME_WITHIN_MS = 60_000;

/**
 * @typedef {object} Preferences
 * @property {string} name
 * @property {"" | "en" | "ru"} language "" follows the browser
 * @property {"" | "light" | "dark"} theme "" follows the system
 * @property {boolean} microphoneOn
 * @property {boolean} cameraOn
 * @property {string} microphoneId
 * @property {string} cameraId
 * @property {string} speakerId
 * @property {boolean} originalSound
 * @property {number} cameraHeight
 * @property {string} codec of the camera's picture
 * @property {boolean} screenMotion a shared screen is to move smoothly, rather than to be sharp
 * @property {"grid" | "speaker"} layout
 */

/**
 * @typedef {object} KeptCall
 * @property {string} roomId
 * @property {Identity} identity
 * @property {string} name
 * @property {boolean} microphoneOn
 * @property {boolean} cameraOn
 */

/** @import { Identity } from "./api.js" */

/** @type {Preferences} */
const DEFAULTS = {
  name: "",
  language: "",
  theme: "",
  microphoneOn: true,
  cameraOn: true,
  microphoneId: "",
  cameraId: "",
  speakerId: "",
  originalSound: false,
  cameraHeight: 720,
  codec: "vp8",
  screenMotion: false,
  layout: "grid",
};

/** @returns {Preferences} */
export function loadPreferences() {
  const stored = read(localStorageOrNull(), PREFERENCES_KEY);
  const preferences = { ...DEFAULTS };
  for (const key of /** @type {(keyof Preferences)[]} */ (Object.keys(DEFAULTS))) {
    if (typeof stored[key] === typeof DEFAULTS[key]) Object.assign(preferences, { [key]: stored[key] });
  }
  return preferences;
}

/** @param {Partial<Preferences>} changes */
export function savePreferences(changes) {
  write(localStorageOrNull(), PREFERENCES_KEY, { ...loadPreferences(), ...changes });
}

/**
 * @param {string} roomId
 * @returns {KeptCall | null} the call that this tab was in just now, before a reload
 */
export function loadCall(roomId) {
  const kept = read(sessionStorageOrNull(), CALL_KEY);
  const fresh = typeof kept.seenAt === "number" && Date.now() - kept.seenAt < RESUME_WITHIN_MS;
  const { userId, secret, name } = kept;
  if (!fresh || kept.roomId !== roomId || typeof userId !== "string" || typeof name !== "string") return null;
  const identity = { userId, secret: typeof secret === "string" ? secret : null };
  return { roomId, identity, name, microphoneOn: kept.microphoneOn === true, cameraOn: kept.cameraOn === true };
}

/** @param {KeptCall | null} call null: this tab is in no call any more */
export function saveCall(call) {
  if (!call) return write(sessionStorageOrNull(), CALL_KEY, {});
  const { identity, ...rest } = call;
  write(sessionStorageOrNull(), CALL_KEY, { ...rest, ...identity, seenAt: Date.now() });
}

/**
 * @typedef {object} Query
 * @property {string | null} name
 * @property {boolean} joinNow
 * @property {boolean | null} microphoneOn
 * @property {boolean | null} cameraOn
 * @property {boolean} originalSound
 * @property {number | null} cameraHeight
 * @property {string | null} codec
 */

/**
 * @param {string} search as in location.search
 * @returns {Query}
 */
export function parseQuery(search) {
  const query = new URLSearchParams(search);
  /** @param {string} key */
  const onOff = (key) => ({ on: true, off: false })[query.get(key) ?? ""] ?? null;
  const quality = Number(query.get("quality"));
  return {
    name: query.get("name"),
    joinNow: query.get("join") === "now",
    microphoneOn: onOff("microphone"),
    cameraOn: onOff("camera"),
    originalSound: query.get("processing") === "off",
    cameraHeight: [720, 360, 180].includes(quality) ? quality : null,
    codec: query.get("codec"),
  };
}

// Reading the property alone throws where cookies are blocked.
const localStorageOrNull = () => storage(() => window.localStorage);
const sessionStorageOrNull = () => storage(() => window.sessionStorage);

/** @param {() => Storage} get */
function storage(get) {
  try {
    return get();
  } catch {
    return null;
  }
}

/**
 * @param {Storage | null} store
 * @param {string} key
 * @returns {Record<string, unknown>}
 */
function read(store, key) {
  try {
    const value = JSON.parse(store?.getItem(key) ?? "{}");
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/**
 * @param {Storage | null} store
 * @param {string} key
 * @param {unknown} value
 */
function write(store, key, value) {
  try {
    store?.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: it is a convenience only.
  }
}
