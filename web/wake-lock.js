/** Keeps the screen on during a call: a phone would switch it off, and the camera with it. */
export class WakeLock {
  /** @type {WakeLockSentinel | null} */
  #lock = null;
  #closed = false;

  constructor() {
    document.addEventListener("visibilitychange", this.#acquire);
    void this.#acquire();
  }

  close() {
    this.#closed = true;
    document.removeEventListener("visibilitychange", this.#acquire);
    void this.#lock?.release().catch(() => undefined);
    this.#lock = null;
  }

  /** The system takes the lock away whenever the page is hidden. */
  #acquire = async () => {
    if (document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
    const lock = await navigator.wakeLock.request("screen").catch(() => null); // a low battery refuses it
    if (this.#closed) void lock?.release().catch(() => undefined);
    else this.#lock = lock;
  };
}
