import { cameraConstraints, canCapture, listDevices, microphoneConstraints, problemOf, watchPermission } from "./devices.js";

/**
 * @import { DeviceLists, Input, MediaProblem } from "./devices.js"
 */

/**
 * @typedef {object} MediaListener
 * @property {(input: Input) => void} onTrack another track, or none, is to be sent from now on
 * @property {() => void} onChange something to show has changed: on, problem, devices
 * @property {(device: MediaDeviceInfo) => void} onNewDevice a microphone was plugged in
 * @property {(input: Input, name: string) => void} onReplaced a device ended by itself; this one took its place
 */

/**
 * @typedef {object} MediaOptions
 * @property {boolean} microphoneOn
 * @property {boolean} cameraOn
 * @property {string} microphoneId
 * @property {string} cameraId
 * @property {boolean} originalSound
 * @property {number} cameraHeight lines
 */

/** The system mutes a device for a moment now and then (a tab that opens it, a lid that moves); this is no moment. */
const SILENCED_MS = 2_000;

/** One's own microphone and camera. The camera is released while it is off (its light goes out), the microphone is kept. */
export class LocalMedia {
  /** @type {Record<Input, MediaStreamTrack | null>} */
  tracks = { microphone: null, camera: null };
  /** @type {Record<Input, MediaProblem | null>} */
  problems = { microphone: null, camera: null };
  /** @type {DeviceLists} */
  devices = { microphones: [], cameras: [], speakers: [] };
  /** The browser is asking the person for permission. */
  asking = false;
  /** @type {MediaListener} */
  listener = { onTrack() {}, onChange() {}, onNewDevice() {}, onReplaced() {} };
  options;
  /** Opening and closing devices one after the other: quick toggles must not overtake each other. */
  #queue = Promise.resolve();
  #closed = false;

  /** @param {MediaOptions} options */
  constructor(options) {
    this.options = options;
    if (!canCapture()) return;
    navigator.mediaDevices.addEventListener("devicechange", this.#onDeviceChange);
    for (const input of /** @type {Input[]} */ (["microphone", "camera"])) {
      void watchPermission(input, (state) => this.#onPermission(input, state));
    }
  }

  /** Open what is to be on and is not. Both are asked for at once, so that the browser asks the person once. */
  start() {
    return this.#enqueue(async () => {
      const microphoneOn = this.options.microphoneOn && !this.tracks.microphone;
      const cameraOn = this.options.cameraOn && !this.tracks.camera;
      if (microphoneOn && cameraOn && canCapture()) {
        try {
          await this.#openBoth();
          return;
        } catch (error) {
          // One of the two may still work: asked for alone below, which also tells which one is in the way.
          console.info("getUserMedia:", error);
        }
      }
      if (microphoneOn) await this.#open("microphone");
      if (cameraOn) await this.#open("camera");
    });
  }

  /** @param {Input} input */
  isOn(input) {
    const wanted = input === "microphone" ? this.options.microphoneOn : this.options.cameraOn;
    return wanted && this.tracks[input] !== null;
  }

  /**
   * @param {Input} input
   * @param {boolean} on
   */
  set(input, on) {
    if (input === "microphone") this.options.microphoneOn = on;
    else this.options.cameraOn = on;
    return this.#enqueue(async () => {
      const track = this.tracks[input];
      if (on && !track) await this.#open(input);
      else if (input === "microphone" && track) track.enabled = this.options.microphoneOn;
      else if (!on) this.#drop(input);
      this.listener.onChange();
    });
  }

  /**
   * Open the device anew, with the options as they are now. Does nothing while it is off.
   * @param {Input} input
   */
  reopen(input) {
    return this.#enqueue(async () => {
      if (!this.isOn(input) && !this.problems[input]) return;
      this.#drop(input);
      await this.#open(input);
    });
  }

  /**
   * Open a device that failed, or fell silent, and have it on.
   * @param {Input} input
   */
  restart(input) {
    if (input === "microphone") this.options.microphoneOn = true;
    else this.options.cameraOn = true;
    return this.#enqueue(async () => {
      this.#drop(input);
      await this.#open(input);
    });
  }

  /** @param {boolean} silent the microphone gives nothing at all, as if the system had muted it; or gives sound again */
  reportSilence(silent) {
    const track = this.tracks.microphone;
    if (track && this.isOn("microphone")) this.#setSilenced("microphone", silent || track.muted);
  }

  async refreshDevices() {
    this.devices = await listDevices();
    this.listener.onChange();
  }

  close() {
    this.#closed = true;
    if (canCapture()) navigator.mediaDevices.removeEventListener("devicechange", this.#onDeviceChange);
    for (const track of Object.values(this.tracks)) track?.stop();
    this.tracks = { microphone: null, camera: null };
  }

  /** @param {() => Promise<void>} step */
  #enqueue(step) {
    this.#queue = this.#queue.then(step).catch((error) => console.error("Devices:", error));
    return this.#queue;
  }

  #constraints() {
    const { microphoneId, originalSound, cameraId, cameraHeight } = this.options;
    return {
      microphone: { audio: microphoneConstraints(microphoneId, originalSound) },
      camera: { video: cameraConstraints(cameraId, cameraHeight) },
    };
  }

  async #openBoth() {
    const { microphone, camera } = this.#constraints();
    const stream = await this.#ask({ ...microphone, ...camera });
    this.#take("microphone", stream.getAudioTracks()[0]);
    this.#take("camera", stream.getVideoTracks()[0]);
    void this.refreshDevices(); // not awaited: Firefox lists devices only once the page has the focus
  }

  /** @param {Input} input */
  async #open(input) {
    if (!canCapture()) {
      this.#fail(input, "insecure");
      return;
    }
    try {
      const stream = await this.#ask(this.#constraints()[input]);
      this.#take(input, stream.getTracks()[0]);
    } catch (error) {
      console.info("getUserMedia:", error);
      const choice = input === "microphone" ? "microphoneId" : "cameraId";
      const problem = problemOf(error);
      if (problem === "not-found" && this.options[choice]) {
        this.options[choice] = ""; // what was chosen once is not plugged in today
        await this.#open(input);
        return;
      }
      this.#fail(input, problem);
    }
    void this.refreshDevices();
  }

  /** @param {MediaStreamConstraints} constraints */
  async #ask(constraints) {
    this.asking = true;
    this.listener.onChange();
    try {
      return await navigator.mediaDevices.getUserMedia(constraints);
    } finally {
      this.asking = false;
    }
  }

  /**
   * @param {Input} input
   * @param {MediaStreamTrack | undefined} track
   */
  #take(input, track) {
    if (!track || this.#closed) {
      track?.stop();
      return;
    }
    this.tracks[input] = track;
    this.problems[input] = null;
    if (input === "microphone") track.enabled = this.options.microphoneOn;
    else if (!this.options.cameraOn) {
      this.#drop(input); // switched off again while the device was opening
      return;
    }
    track.onended = () => void this.#lost(input, track);
    track.onmute = () => setTimeout(() => this.#showMute(input, track), SILENCED_MS);
    track.onunmute = () => this.#showMute(input, track);
    if (track.muted) track.onmute(new Event("mute"));
    this.listener.onTrack(input);
    this.listener.onChange();
  }

  /**
   * @param {Input} input
   * @param {MediaProblem} problem
   */
  #fail(input, problem) {
    this.problems[input] = problem;
    if (input === "microphone") this.options.microphoneOn = false;
    else this.options.cameraOn = false;
    this.listener.onChange();
  }

  /** @param {Input} input */
  #drop(input) {
    const track = this.tracks[input];
    if (!track) return;
    track.onended = track.onmute = track.onunmute = null;
    track.stop();
    this.tracks[input] = null;
    if (this.problems[input] === "silenced") this.problems[input] = null;
    this.listener.onTrack(input);
  }

  /**
   * The device ended by itself. Another one takes its place where there is one.
   * @param {Input} input
   * @param {MediaStreamTrack} track
   */
  #lost(input, track) {
    return this.#enqueue(async () => {
      if (this.tracks[input] !== track) return;
      const wasOn = this.isOn(input);
      this.#drop(input);
      if (wasOn) await this.#open(input);
      const next = this.tracks[input];
      if (next) this.listener.onReplaced(input, next.label);
      else if (this.problems[input] !== "denied") this.#fail(input, "lost");
    });
  }

  /**
   * The system muted a device, or let it go again.
   * @param {Input} input
   * @param {MediaStreamTrack} track
   */
  #showMute(input, track) {
    if (this.tracks[input] === track) this.#setSilenced(input, track.muted);
  }

  /**
   * @param {Input} input
   * @param {boolean} silenced
   */
  #setSilenced(input, silenced) {
    const before = this.problems[input];
    if (silenced) this.problems[input] ??= "silenced";
    else if (before === "silenced") this.problems[input] = null;
    if (this.problems[input] !== before) this.listener.onChange();
  }

  /**
   * @param {Input} input
   * @param {PermissionState} state
   */
  #onPermission(input, state) {
    if (this.#closed) return;
    if (state === "denied" && this.tracks[input]) {
      // Some browsers let a track run on, black and silent.
      void this.#enqueue(async () => {
        this.#drop(input);
        this.#fail(input, "denied");
      });
    }
    void this.refreshDevices();
  }

  #onDeviceChange = async () => {
    const known = new Set(this.devices.microphones.map(({ deviceId }) => deviceId));
    await this.refreshDevices();
    const added = this.devices.microphones.find(({ deviceId }) => !known.has(deviceId) && !isAlias(deviceId));
    if (added && known.size > 0) this.listener.onNewDevice(added);
  };
}

/**
 * Chromium lists the system's choice a second time under these ids.
 * @param {string} deviceId
 */
const isAlias = (deviceId) => deviceId === "default" || deviceId === "communications";
