/** Tells when the network may have changed under the page, or when the page itself was away. */

/** How often the clock is looked at. */
const TICK_MS = 1_000;
/** Timers of pages in the background are late by a second or so; what is late by more was asleep. */
const ASLEEP_MS = 5_000;
/** Several signs of one change come together. */
const TOGETHER_MS = 300;

/**
 * @typedef {object} NetworkListener
 * @property {() => void} onChange the path of a moment ago is most likely gone: another network, or the computer slept
 * @property {() => void} onReturn the page is looked at again: time to see whether everything still runs
 */

/** `navigator.connection`, where a browser has it. @typedef {EventTarget & { type?: string }} NetworkInformation */

export class NetworkWatch {
  #listener;
  #seenAt = Date.now();
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pending;
  /** @type {NetworkInformation | undefined} */
  #connection = /** @type {Navigator & { connection?: NetworkInformation }} */ (navigator).connection;
  #type = this.#connection?.type;

  /** @param {NetworkListener} listener */
  constructor(listener) {
    this.#listener = listener;
    // Not performance.now(): on some systems it stands still while the computer sleeps.
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    window.addEventListener("online", this.#onChange);
    this.#connection?.addEventListener("change", this.#onConnection);
    document.addEventListener("visibilitychange", this.#onVisibility);
    window.addEventListener("pageshow", this.#onVisibility);
  }

  close() {
    clearInterval(this.#timer);
    clearTimeout(this.#pending);
    window.removeEventListener("online", this.#onChange);
    this.#connection?.removeEventListener("change", this.#onConnection);
    document.removeEventListener("visibilitychange", this.#onVisibility);
    window.removeEventListener("pageshow", this.#onVisibility);
  }

  #tick() {
    const now = Date.now();
    const late = now - this.#seenAt - TICK_MS;
    this.#seenAt = now;
    if (late > ASLEEP_MS) this.#onChange();
  }

  #onChange = () => {
    clearTimeout(this.#pending);
    this.#pending = setTimeout(() => this.#listener.onChange(), TOGETHER_MS);
  };

  #onConnection = () => {
    // The event also comes with every new estimate of the speed.
    const type = this.#connection?.type;
    if (type !== this.#type && type !== "none") this.#onChange();
    this.#type = type;
  };

  #onVisibility = () => {
    if (document.visibilityState === "visible") this.#listener.onReturn();
  };
}
