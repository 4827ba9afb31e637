import { ApiError, joinRoom, leaveRoom } from "./api.js";
import { CloseCode, parseServerMessage } from "./protocol.js";
import { Retry } from "./retry.js";

/**
 * @import { Identity } from "./api.js"
 * @import { ClientMessage, ServerMessage } from "./protocol.js"
 */

/** A WebSocket that is still connecting after this long will not connect: some firewalls drop silently. */
const OPENING_MS = 5_000;
/** The server answers within milliseconds; what is silent for so long after a question is a dead connection. */
const SILENCE_MS = 3_000;
/** A server that is back is found within this and the time that joining takes, by everybody at another moment. */
const LONGEST_RETRY_MS = 4_000;
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
  #retry = new Retry(LONGEST_RETRY_MS);
  /** @type {Identity | null} */
  #identity = null;
  /** The server did know this user: forgetting it is a matter of its restart, or of time, and not of an endless loop. */
  #wasKnown = false;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} runs while a question waits for its answer */
  #silence;
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
  }

  /** @param {Identity | null} kept who this tab was before a reload */
  start(kept) {
    this.#identity = kept;
    this.#wasKnown = kept !== null;
    this.#connect();
  }

  /** Who this tab is; null while it is not a member. */
  get identity() {
    return this.#identity;
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

  /**
   * Find out whether the connection still works, of which browsers say nothing for minutes when a network goes away.
   * @param {ClientMessage} question that the server answers at once
   */
  probe(question) {
    const socket = this.#socket;
    if (!socket) this.retryNow();
    if (!socket || !this.isOpen || this.#silence !== undefined) return;
    this.send(question);
    this.#silence = setTimeout(() => this.#lose(socket, 0), SILENCE_MS);
  }

  /** The connection looks alive and is not: drop it and open another. */
  reconnect() {
    if (this.#socket) this.#lose(this.#socket, 0);
  }

  /** Stop without a goodbye: the server's grace time decides. */
  close() {
    this.#closed = true;
    this.#retry.cancel();
    this.#detach()?.close(1000);
  }

  /** Say goodbye and stop. */
  async leave() {
    const identity = this.#identity;
    this.close();
    if (identity === null) return;
    // Nobody waits for the outcome: a server that cannot be reached lets the grace time decide.
    await leaveRoom(this.#roomId, identity).catch((error) => console.info("leave:", error.message));
  }

  #connect() {
    this.#listener.onWaiting(null);
    if (this.#identity === null) void this.#join();
    else this.#open(this.#identity);
  }

  /** @param {number} [atLeastMs] */
  #again(atLeastMs) {
    if (this.#closed) return;
    this.#listener.onWaiting(this.#retry.schedule(() => this.#connect(), atLeastMs));
  }

  async #join() {
    try {
      const identity = await joinRoom(this.#roomId, this.#userName);
      if (this.#closed) {
        // Left while joining: the answer is late, the goodbye is still owed.
        await leaveRoom(this.#roomId, identity).catch(() => undefined);
        return;
      }
      this.#identity = identity;
      this.#wasKnown = false;
      this.#open(identity);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.#closed) return;
      if (error.code === "network") this.#again();
      else if (error.code === "rate-limited") this.#again(Math.max(RATE_LIMITED_MS, error.retryAfterS * 1000));
      else this.#end(END_BY_CODE[error.code] ?? "refused", error.message);
    }
  }

  /** @param {Identity} identity */
  #open({ userId, secret }) {
    const url = new URL("/ws", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("room_id", this.#roomId);
    url.searchParams.set("user_id", userId);
    if (secret !== null) url.searchParams.set("secret", secret);
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
      this.#hear();
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
      this.#identity = null;
      if (this.#wasKnown) this.#retry.reset(); // the server is there: join again without a long wait
    }
    this.#again(code === CloseCode.RATE_LIMITED ? RATE_LIMITED_MS : 0);
  }

  #hear() {
    clearTimeout(this.#silence);
    this.#silence = undefined;
  }

  #detach() {
    this.#hear();
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
