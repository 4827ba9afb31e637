/** The REST side of the protocol. */

/** How long an answer may take before the server counts as unreachable. */
const TIMEOUT_MS = 10_000;

/** A refusal of the server (RFC 9457 problem details), or code `network` when there was no answer at all. */
export class ApiError extends Error {
  /**
   * @param {string} code stable word, see docs/protocol.md
   * @param {string} detail a sentence for people
   * @param {number} [retryAfterS] what the server's Retry-After asks for
   */
  constructor(code, detail, retryAfterS = 0) {
    super(detail);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
async function request(path, init) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, { ...init, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new ApiError("network", String(error));
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  // A proxy in front of a server that is down answers 502 to 504 without a code of ours: the same as no answer.
  const code = typeof body?.code === "string" ? body.code : response.status >= 500 ? "network" : "refused";
  const detail = typeof body?.detail === "string" ? body.detail : `HTTP ${response.status}`;
  throw new ApiError(code, detail, Number(response.headers.get("Retry-After")) || 0);
}

/** @param {unknown} body */
const asJson = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

/**
 * Who this tab is in a room. Whoever knows the secret may act as that user; servers in open mode give none.
 * @typedef {{ userId: string, secret: string | null }} Identity
 */

/**
 * Become a participant of a room, which is made if there is none of that id. The WebSocket has to follow within a minute.
 * @param {string} roomId
 * @param {string} userName
 * @returns {Promise<Identity>}
 */
export async function joinRoom(roomId, userName) {
  const { user_id, secret } = await request("/api/room/join", asJson({ room_id: roomId, user_name: userName }));
  return { userId: user_id, secret: secret ?? null };
}

/**
 * @param {string} roomId
 * @param {Identity} identity
 * @returns {Promise<{ success: boolean }>}
 */
export function leaveRoom(roomId, { userId, secret }) {
  const body = { room_id: roomId, user_id: userId, ...(secret !== null && { secret }) };
  return request("/api/room/leave", { ...asJson(body), keepalive: true });
}

/**
 * @param {string} roomId
 * @returns {Promise<{ room_id: string, users: { user_id: string, user_name: string, is_online: boolean }[] }>}
 */
export function roomInfo(roomId) {
  return request(`/api/room/${encodeURIComponent(roomId)}/info`);
}
