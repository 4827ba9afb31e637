/** What the level of a moment is made of. */
const LEVEL_SAMPLES = 512;

/**
 * @param {number} decibel of power, 0 for the loudest sound that there is (dBFS, dBov)
 * @returns {number} 0 (silence) to 1 (as loud as it gets), on a scale that fits the ear
 */
export const loudness = (decibel) => Math.min(1, Math.max(0, (decibel + 60) / 55));

/** Loudness of one's own microphone, for the meter and to find one that gives nothing. */
export class LevelMeter {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #node = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  /** More than what passes between two readings, so that no sound goes unheard. */
  #samples = new Float32Array(32_768);
  /** Since when there has been nothing but zeros (performance.now()); null: the microphone works, or is not listened to. */
  /** @type {number | null} */
  #silentSince = null;
  #track = /** @type {MediaStreamTrack | null} */ (null);

  /** @param {MediaStreamTrack | null} track to listen to from now on */
  attach(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#silentSince = track && performance.now();
    this.#node?.disconnect();
    this.#node = null;
    if (!track) return;
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#node = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#node.connect(this.#analyser);
  }

  /** @returns {number} see loudness */
  read() {
    if (!this.#track || !this.#analyser || !this.#context) return 0;
    // Browsers start it suspended before the first click; asking again is harmless.
    if (this.#context.state === "suspended") void this.#context.resume().catch(() => undefined);
    this.#analyser.getFloatTimeDomainData(this.#samples);
    // A meter that does not run proves nothing.
    if (this.#context.state !== "running") this.doubt();
    else if (this.#silentSince !== null && this.#samples.some((sample) => sample !== 0)) this.#silentSince = null;
    const now = this.#samples.subarray(-LEVEL_SAMPLES);
    const power = now.reduce((sum, sample) => sum + sample * sample, 0) / LEVEL_SAMPLES;
    return loudness(10 * Math.log10(power + 1e-10));
  }

  /**
   * For how long there has been nothing but zeros, which even a quiet room is not. A microphone that has given sound is
   * trusted: some software sends zeros whenever nobody speaks.
   */
  get silentMs() {
    return this.#silentSince === null ? 0 : performance.now() - this.#silentSince;
  }

  /** Something happened after which microphones have been found dead: sleep, a phone call. */
  doubt() {
    if (this.#track) this.#silentSince = performance.now();
  }

  close() {
    this.attach(null);
    void this.#context?.close().catch(() => undefined);
    this.#context = null;
    this.#analyser = null;
  }
}
