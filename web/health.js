/** After an answer, media connects within a second or two; after this long something is in its way. */
const UNREACHABLE_MS = 10_000;
/** A lost path often comes back by itself (Wi-Fi roams); after this long a new connection is quicker. */
const DISCONNECTED_MS = 5_000;
/** The server is at fault: a while later it may be well again. */
const FAULT_MS = 5_000;
/** How long a connection that does not come up is left trying before a fresh one takes its place. */
const GIVE_UP_MS = 20_000;

/**
 * @typedef {object} HealthListener
 * @property {() => void} onUnreachable signalling works, media does not: a closed port, mostly
 * @property {() => void} onRenew give up this connection and make another
 */

/** Watches one peer connection's state and decides when it is beyond hope. */
export class Health {
  /** @type {Set<ReturnType<typeof setTimeout>>} */
  #timers = new Set();
  #listener;
  #connected = false;

  /** @param {HealthListener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  /** The server answered: from here on only the network is in question. */
  negotiated() {
    if (this.#connected || this.#timers.size > 0) return;
    this.#after(UNREACHABLE_MS, () => this.#listener.onUnreachable());
    this.#after(GIVE_UP_MS, () => this.#listener.onRenew());
  }

  /** @param {RTCPeerConnectionState} state */
  update(state) {
    if (state === "connected") {
      this.#connected = true;
      this.stop();
    } else if (state === "failed") {
      this.stop();
      if (!this.#connected) this.#listener.onUnreachable();
      // Not at once: without a network every new connection fails at once, too.
      this.#after(this.#connected ? 0 : DISCONNECTED_MS, () => this.#listener.onRenew());
    } else if (state === "disconnected") {
      this.#after(DISCONNECTED_MS, () => this.#listener.onRenew());
    }
  }

  /** The server gave up this connection for a fault of its own. */
  broken() {
    this.stop();
    this.#after(FAULT_MS, () => this.#listener.onRenew());
  }

  stop() {
    this.#timers.forEach(clearTimeout);
    this.#timers.clear();
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
