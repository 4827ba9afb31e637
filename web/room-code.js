/** Codes of rooms: made here, because joining an unknown one creates it. */

/** Letters that nobody mistakes for another or reads as a word. */
const LETTERS = "bcdfghjkmnpqrstvwxz";
const LENGTH = 12;
/** Marks the address of a room that was made a moment ago, so that nobody looks for it on the server. */
export const NEW_ROOM_HASH = "#new";
/** What the server takes as an id. */
const ID = /^[A-Za-z0-9_.~-]{1,64}$/;

/** @returns {string} such as "bkdt-mwqz-hfrs": 51 bits, nobody guesses a call */
export function newRoomCode() {
  const random = crypto.getRandomValues(new Uint32Array(LENGTH));
  const letters = [...random].map((value) => LETTERS[value % LETTERS.length]).join("");
  return letters.replace(/(.{4})(?=.)/g, "$1-");
}

/**
 * @param {string} text a code, or the link of a call, as somebody pasted it
 * @returns {string | null} the room's id
 */
export function roomIdFrom(text) {
  const trimmed = text.trim();
  const [, fromLink] = /\/r\/([^/?#\s]+)/.exec(trimmed) ?? [];
  const id = fromLink ? decode(fromLink) : trimmed.replaceAll(/\s+/g, "-");
  return ID.test(id) ? id : null;
}

/**
 * @param {string} pathname of the page
 * @returns {string | null} the room that it stands for
 */
export function roomIdOfPath(pathname) {
  const [, id] = /^\/r\/([^/]+)\/?$/.exec(pathname) ?? [];
  return id ? decode(id) : null;
}

/** @param {string} roomId */
export const roomPath = (roomId) => `/r/${encodeURIComponent(roomId)}`;

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
