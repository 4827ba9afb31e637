import { Retry } from "./retry.js";

/** After an answer, media connects within a second or two; after this long something is in its way. */
const UNREACHABLE_MS = 10_000;
/** A lost path often comes back by itself (Wi-Fi roams); after this long new candidates are quicker. */
const DISCONNECTED_MS = 3_000;
/** What a server's fault cuts off at once does not come back at once: the restarts of many are spread over this. */
const SPREAD_MS = 500;
/** An ICE restart that has not helped within this does not help. */
const RESTART_MS = 8_000;
/** The server is at fault, or there is no network: a while later it may be well again. */
const FAULT_MS = 5_000;
/** How long a connection that does not come up is left trying before a fresh one takes its place. */
const GIVE_UP_MS = 20_000;
/** The pauses between connections that do not come up grow to this, on top of GIVE_UP_MS. */
const LONGEST_RETRY_MS = 10_000;
/** A connection that has lasted so long starts with short pauses when it is lost again. */
const STEADY_MS = 10_000;
/** From this many failures in a row on, the WebSocket is opened anew, too. */
const REJOIN_FROM = 1;

/**
 * @typedef {object} HealthListener
 * @property {() => void} onUnreachable signalling works, media does not: a closed port, mostly
 * @property {() => void} onRestart restart ICE on this connection
 * @property {() => void} onRenew give up this connection and make another
 * @property {() => void} onRejoin the same, by entering the room again
 */

/**
 * Watches the states of a call's peer connections, one after the other, and decides what helps: first nothing, then an ICE
 * restart, then another connection, then entering again, with growing pauses.
 */
export class Health {
  /** @type {Set<ReturnType<typeof setTimeout>>} */
  #timers = new Set();
  #listener;
  #retry = new Retry(LONGEST_RETRY_MS);
  #connected = false;
  /** ICE was restarted and has not connected since. */
  #restarting = false;

  /** @param {HealthListener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  /** Another connection takes the place of the one that there was. */
  begin() {
    this.stop();
    this.#connected = this.#restarting = false;
  }

  /** The server answered: from here on only the network is in question. */
  negotiated() {
    if (this.#connected || this.#timers.size > 0) return;
    this.#after(UNREACHABLE_MS, () => this.#listener.onUnreachable());
    this.#after(GIVE_UP_MS, () => this.#renew(0));
  }

  /** @param {RTCPeerConnectionState} state */
  update(state) {
    if (state === "connected") {
      this.stop();
      this.#connected = true;
      this.#restarting = false;
      this.#after(STEADY_MS, () => this.#retry.reset());
    } else if (state === "disconnected" && !this.#restarting) {
      this.stop();
      this.#after(DISCONNECTED_MS + SPREAD_MS * Math.random(), () => this.restart());
    } else if (state === "failed" && !this.#connected) {
      this.stop();
      this.#listener.onUnreachable();
      // Not at once: without a network every new connection fails at once, too.
      this.#renew(FAULT_MS);
    } else if (state === "failed" && !this.#restarting) {
      this.stop();
      this.#after(SPREAD_MS * Math.random(), () => this.restart());
    }
  }

  /** The connection worked once: restarting ICE may help. */
  get wasConnected() {
    return this.#connected;
  }

  /** The path is lost, or no longer the best: look for another at once. A connection that never was is left trying. */
  restart() {
    if (!this.#connected) return;
    this.stop();
    this.#restarting = true;
    this.#after(RESTART_MS, () => this.#renew(0));
    this.#listener.onRestart();
  }

  /** An ICE restart was agreed; the state tells nothing where the connection was never lost. */
  restarted() {
    if (this.#restarting) this.update("connected");
  }

  /** The server gave up this connection for a fault of its own. */
  broken() {
    this.stop();
    this.#renew(FAULT_MS);
  }

  stop() {
    this.#timers.forEach(clearTimeout);
    this.#timers.clear();
    this.#retry.cancel();
  }

  /** @param {number} atLeastMs */
  #renew(atLeastMs) {
    this.stop();
    const rejoin = this.#retry.attempts >= REJOIN_FROM;
    this.#retry.schedule(() => (rejoin ? this.#listener.onRejoin() : this.#listener.onRenew()), atLeastMs);
  }

  /**
   * @param {number} ms
   * @param {() => void} action
   */
  #after(ms, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
  }
}
