import { ApiError, joinRoom, leaveRoom } from "./api.js";
import { CloseCode, parseServerMessage } from "./protocol.js";
import { Retry } from "./retry.js";

/**
 * @import { ClientMessage, ServerMessage } from "./protocol.js"
 */

/** A WebSocket that is still connecting after this long will not connect: some firewalls drop silently. */
const OPENING_MS = 10_000;
/** The server asked for less: a breath before the next attempt. */
const RATE_LIMITED_MS = 5_000;

/**
 * Why a membership is over for good.
 * @typedef {"replaced" | "left" | "room-full" | "server-full" | "invalid" | "refused"} EndReason
 */

/**
 * @typedef {object} SignalingListener
 * @property {(userId: string) => void} onOpen a WebSocket is open, as this user; nothing was sent on it yet
 * @property {(message: ServerMessage) => void} onMessage
 * @property {(dueAt: number | null) => void} onWaiting connection lost: next attempt at (performance.now()), null while trying
 * @property {(reason: EndReason, detail: string) => void} onEnd
 */

/**
 * Membership of a room: joins by REST, keeps a WebSocket open, opens it again when it drops, and joins anew when the server
 * has forgotten the user (restart, or the grace time passed).
 */
export class Signaling {
  #roomId;
  #userName;
  #listener;
  #retry = new Retry();
  /** @type {string | null} */
  #userId = null;
  /** The server did know this user: forgetting it is a matter of its restart, or of time, and not of an endless loop. */
  #wasKnown = false;
  /** @type {WebSocket | null} */
  #socket = null;
  #closed = false;

  /**
   * @param {string} roomId
   * @param {string} userName
   * @param {SignalingListener} listener
   */
  constructor(roomId, userName, listener) {
    this.#roomId = roomId;
    this.#userName = userName;
    this.#listener = listener;
    window.addEventListener("online", this.#onOnline);
  }

  /** @param {string | null} keptUserId the user that this tab was before a reload */
  start(keptUserId) {
    this.#userId = keptUserId;
    this.#wasKnown = keptUserId !== null;
    this.#connect();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** @param {ClientMessage} message dropped when there is no connection: after the next one everything is told anew */
  send(message) {
    if (this.isOpen) this.#socket?.send(JSON.stringify(message));
  }

  retryNow() {
    this.#retry.now();
  }

  /** The connection looks alive and is not: drop it and open another. */
  reconnect() {
    if (this.#socket) this.#lose(this.#socket, 0);
  }

  /** Stop without a goodbye: the server's grace time decides. */
  close() {
    this.#closed = true;
    this.#retry.cancel();
    window.removeEventListener("online", this.#onOnline);
    this.#detach()?.close(1000);
  }

  /** Say goodbye and stop. */
  async leave() {
    const userId = this.#userId;
    this.close();
    if (userId === null) return;
    // Nobody waits for the outcome: a server that cannot be reached lets the grace time decide.
    await leaveRoom(this.#roomId, userId).catch((error) => console.info("leave:", error.message));
  }

  #onOnline = () => this.#retry.now();

  #connect() {
    this.#listener.onWaiting(null);
    if (this.#userId === null) void this.#join();
    else this.#open(this.#userId);
  }

  /** @param {number} [atLeastMs] */
  #again(atLeastMs) {
    if (this.#closed) return;
    this.#listener.onWaiting(this.#retry.schedule(() => this.#connect(), atLeastMs));
  }

  async #join() {
    try {
      const joined = await joinRoom(this.#roomId, this.#userName);
      if (this.#closed) {
        // Left while joining: the answer is late, the goodbye is still owed.
        await leaveRoom(this.#roomId, joined.user_id).catch(() => undefined);
        return;
      }
      this.#userId = joined.user_id;
      this.#wasKnown = false;
      this.#open(joined.user_id);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.#closed) return;
      if (error.code === "network") this.#again();
      else if (error.code === "rate-limited") this.#again(Math.max(RATE_LIMITED_MS, error.retryAfterS * 1000));
      else this.#end(END_BY_CODE[error.code] ?? "refused", error.message);
    }
  }

  /** @param {string} userId */
  #open(userId) {
    const url = new URL("/ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("room_id", this.#roomId);
    url.searchParams.set("user_id", userId);
    const socket = new WebSocket(url);
    this.#socket = socket;
    const opening = setTimeout(() => this.#lose(socket, 0), OPENING_MS);
    socket.onopen = () => {
      clearTimeout(opening);
      this.#listener.onOpen(userId);
    };
    socket.onmessage = (event) => {
      this.#retry.reset();
      this.#wasKnown = true;
      const message = parseServerMessage(event.data);
      if (message) this.#listener.onMessage(message);
    };
    socket.onclose = (event) => {
      clearTimeout(opening);
      this.#lose(socket, event.code);
    };
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  #lose(socket, code) {
    if (socket !== this.#socket) return;
    this.#detach()?.close();
    if (code === CloseCode.REPLACED) return this.#end("replaced", "");
    if (code === CloseCode.LEFT) return this.#end("left", "");
    if (code === CloseCode.UNKNOWN_PARTICIPANT) {
      this.#userId = null;
      if (this.#wasKnown) this.#retry.reset(); // the server is there: join again without a long wait
    }
    this.#again(code === CloseCode.RATE_LIMITED ? RATE_LIMITED_MS : 0);
  }

  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    if (socket) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  /**
   * @param {EndReason} reason
   * @param {string} detail
   */
  #end(reason, detail) {
    this.close();
    this.#listener.onEnd(reason, detail);
  }
}

/** @type {Record<string, EndReason>} */
const END_BY_CODE = {
  "room-full": "room-full",
  "too-many-rooms": "server-full",
  "invalid-request": "invalid",
};
