/**
 * Plays what the slots deliver: an audio element per audio slot, hidden, and a video element per video slot, which the tiles
 * show.
 */

/**
 * @typedef {object} Playing
 * @property {HTMLAudioElement | HTMLVideoElement} element
 * @property {RTCRtpReceiver} receiver
 * @property {string | null} shown what it plays now: "user_id/track_id"
 */

export class Playback {
  /** @type {Map<string, Playing>} by mid */
  #playing = new Map();
  #speakerId = "";
  #onRefused;
  #parent;

  /**
   * @param {HTMLElement} parent where the audio elements live
   * @param {(refused: boolean) => void} onRefused whether the browser keeps silent until the person touches the page
   */
  constructor(parent, onRefused) {
    this.#parent = parent;
    this.#onRefused = onRefused;
  }

  /**
   * Play a slot's track.
   * @param {string} mid
   * @param {RTCRtpReceiver} receiver
   * @param {string | null} shown whose track it is, so that nobody is shown with the last picture of somebody else
   * @returns {HTMLAudioElement | HTMLVideoElement}
   */
  play(mid, receiver, shown) {
    let playing = this.#playing.get(mid);
    if (!playing) {
      playing = { element: this.#element(receiver.track.kind), receiver, shown: null };
      this.#playing.set(mid, playing);
    }
    if (playing.shown !== shown) {
      playing.shown = shown;
      playing.element.srcObject = shown === null ? null : new MediaStream([receiver.track]);
      if (shown !== null) void this.#start(playing.element);
    }
    return playing.element;
  }

  /** Try again what the browser refused: to be called from a click. */
  async resume() {
    this.#onRefused(false);
    const paused = [...this.#playing.values()].filter(({ element, shown }) => shown !== null && element.paused);
    await Promise.all(paused.map(({ element }) => this.#start(element)));
  }

  /** @param {string} deviceId of the loudspeaker; "" is the system's */
  async setSpeaker(deviceId) {
    this.#speakerId = deviceId;
    await Promise.all([...this.#playing.values()].map(({ element }) => this.#route(element)));
  }

  /** The connection is gone, and its receivers with it. */
  clear() {
    for (const { element } of this.#playing.values()) {
      element.srcObject = null;
      element.remove();
    }
    this.#playing.clear();
  }

  /** @param {string} kind */
  #element(kind) {
    const element = document.createElement(kind === "audio" ? "audio" : "video");
    element.autoplay = true;
    if (element instanceof HTMLVideoElement) {
      element.playsInline = true;
      element.muted = true; // sound comes from the audio slots; muted video may always start by itself
    } else {
      this.#parent.append(element);
      void this.#route(element);
    }
    return element;
  }

  /** @param {HTMLMediaElement} element */
  async #start(element) {
    try {
      await element.play();
    } catch (error) {
      // AbortError: the source was changed while starting, which is not a refusal.
      if (error instanceof DOMException && error.name === "NotAllowedError") this.#onRefused(true);
    }
  }

  /** @param {HTMLMediaElement} element */
  async #route(element) {
    if (!(element instanceof HTMLAudioElement) || !element.setSinkId) return;
    await element.setSinkId(this.#speakerId).catch((error) => console.info("setSinkId:", error.message));
  }
}
