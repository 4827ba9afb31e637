/** Loudness of one's own microphone, for the meter and for "you are muted". */
export class LevelMeter {
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #node = null;
  /** @type {AnalyserNode | null} */
  #analyser = null;
  #samples = new Float32Array(512);
  #track = /** @type {MediaStreamTrack | null} */ (null);

  /** @param {MediaStreamTrack | null} track to listen to from now on */
  attach(track) {
    if (track === this.#track) return;
    this.#track = track;
    this.#node?.disconnect();
    this.#node = null;
    if (!track) return;
    this.#context ??= new AudioContext();
    this.#analyser ??= new AnalyserNode(this.#context, { fftSize: this.#samples.length });
    this.#node = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#node.connect(this.#analyser);
  }

  /** @returns {number} 0 (silence) to 1 (as loud as it gets), on a scale that fits the ear */
  read() {
    if (!this.#track || !this.#analyser || !this.#context) return 0;
    // Browsers start it suspended before the first click; asking again is harmless.
    if (this.#context.state === "suspended") void this.#context.resume().catch(() => undefined);
    this.#analyser.getFloatTimeDomainData(this.#samples);
    const power = this.#samples.reduce((sum, sample) => sum + sample * sample, 0) / this.#samples.length;
    const decibel = 10 * Math.log10(power + 1e-10);
    return Math.min(1, Math.max(0, (decibel + 60) / 55));
  }

  close() {
    this.attach(null);
    void this.#context?.close().catch(() => undefined);
    this.#context = null;
    this.#analyser = null;
  }
}
