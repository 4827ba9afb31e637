/** Sharing a screen, a window or a tab, with its sound where the browser offers it. */
export class ScreenShare {
  /** @type {MediaStream | null} */
  stream = null;
  #onChange;

  /** @param {(stream: MediaStream | null) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /**
   * Ask the person what to share.
   * @param {boolean} motion it is to move smoothly, rather than to be sharp
   * @returns {Promise<boolean>} false when the system refuses; a change of mind is no failure
   */
  async start(motion) {
    if (this.stream) return true;
    /** @type {MediaStream} */
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia(options(motion));
    } catch (error) {
      console.info("getDisplayMedia:", error);
      // NotAllowedError is also what closing the browser's chooser gives.
      return error instanceof DOMException && ["NotAllowedError", "AbortError"].includes(error.name);
    }
    for (const track of stream.getVideoTracks()) {
      track.contentHint = motion ? "motion" : "detail";
      track.onended = () => this.stop(); // the browser's own "stop sharing"
    }
    for (const track of stream.getAudioTracks()) track.contentHint = "music";
    this.stream = stream;
    this.#onChange(stream);
    return true;
  }

  stop() {
    if (!this.stream) return;
    for (const track of this.stream.getTracks()) {
      track.onended = null;
      track.stop();
    }
    this.stream = null;
    this.#onChange(null);
  }
}

/**
 * @param {boolean} motion
 * @returns {DisplayMediaStreamOptions & Record<string, unknown>} the last three are Chromium's, others ignore them
 */
const options = (motion) => ({
  video: { frameRate: { ideal: motion ? 30 : 15, max: 30 }, width: { max: 1920 }, height: { max: 1080 } },
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  systemAudio: "include",
  surfaceSwitching: "include",
  selfBrowserSurface: "exclude",
});
