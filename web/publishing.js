import { preferCodec } from "./codecs.js";
import { CAMERA_RIDS, cameraPlans, SCREEN_RIDS, screenPlans } from "./encodings.js";

/**
 * @import { Kind, Plan, Wanted } from "./encodings.js"
 * @import { Source, WantedLayers } from "./protocol.js"
 */

/** Codecs whose encoders make spatial layers within one stream. */
const SCALABLE = ["vp9", "av1"];
const SCALABILITY_MODE = "L3T3_KEY";
/** Frames that a thin link can leave out. What is sent alone in its size has them only where they are asked for. */
const TEMPORAL_LAYERS = "L1T3";

/**
 * What this tab sends: a transceiver for each source, and in which sizes each is encoded at the moment.
 */
export class Publishing {
  #pc;
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #sending = new Map();
  /** All tracks of one stream, so that they play in sync. */
  #stream = new MediaStream();
  /** What somebody takes. A source that is missing: nobody has said. @type {Map<Source, Wanted>} */
  #wanted = new Map();
  /** Sources whose encodings are being set, and whether they have to be set once more after that. @type {Map<Source, boolean>} */
  #applying = new Map();
  #cameraLines = 720;
  /** What it may be while there is no size to choose from: the room is large, and everybody gets the same. */
  #roomLines = 720;

  /** @param {RTCPeerConnection} pc */
  constructor(pc) {
    this.#pc = pc;
  }

  /** @returns {Source[]} what the server was or is being told to expect */
  get sources() {
    return [...this.#sending].filter(([, t]) => t.direction === "sendonly").map(([source]) => source);
  }

  /** @returns {Record<string, Source>} the sources of an offer, by mid */
  get sourcesByMid() {
    /** @type {Record<string, Source>} */
    const sources = {};
    for (const [source, { mid, direction }] of this.#sending) {
      if (mid !== null && direction === "sendonly") sources[mid] = source;
    }
    return sources;
  }

  /**
   * @param {string} mid
   * @returns {Source | null} what is sent there
   */
  sourceOf(mid) {
    return [...this.#sending].find(([, transceiver]) => transceiver.mid === mid)?.[0] ?? null;
  }

  /**
   * Its m-section is there from the start; the device may come later.
   * @param {MediaStreamTrack | null} track
   */
  publishMicrophone(track) {
    this.#publish("microphone", track, "audio", []);
  }

  /**
   * The same for the camera.
   * @param {MediaStreamTrack | null} track
   * @param {string | null} codec "vp8", "vp9", "h264" or "av1"; null: the browser chooses
   */
  publishCamera(track, codec) {
    const scalable = codec !== null && SCALABLE.includes(codec.toLowerCase());
    const layers = scalable ? [{ scalabilityMode: SCALABILITY_MODE }] : simulcast(CAMERA_RIDS);
    preferCodec(this.#publish("camera", track, "video", layers), codec);
    void this.#apply("camera");
  }

  /**
   * A screen and, where the browser gives it, its sound. Takes a new offer.
   * @param {MediaStream} stream
   */
  publishScreen(stream) {
    this.#wanted.delete("screen");
    // Chromium offers what it takes to tell sizes apart from the start, or not at all.
    const sizes = (this.#sending.get("camera")?.sender.getParameters().encodings.length ?? 0) > 1;
    const layers = sizes ? simulcast(SCREEN_RIDS) : [{ scalabilityMode: TEMPORAL_LAYERS }];
    // What belongs to all of them stands with the first.
    Object.assign(layers[0] ?? {}, { priority: "high" });
    for (const track of stream.getTracks()) {
      const video = track.kind === "video";
      this.#publish(video ? "screen" : "screen-audio", track, track.kind, video ? layers : []);
    }
    void this.#apply("screen");
  }

  withdrawScreen() {
    for (const source of /** @type {Source[]} */ (["screen", "screen-audio"])) {
      const transceiver = this.#sending.get(source);
      if (!transceiver) continue;
      transceiver.direction = "inactive";
      void transceiver.sender.replaceTrack(null).catch(ignoreWhenClosed);
    }
  }

  /** The server refused the last offer: nothing of what was new in it is offered again. */
  withdrawRefused() {
    // Before the rollback, so that what the browser offers after it is what the server accepted before.
    this.withdrawScreen();
    for (const [source, transceiver] of this.#sending) {
      if (transceiver.currentDirection !== null) continue;
      transceiver.stop();
      this.#sending.delete(source);
    }
  }

  /**
   * @param {"microphone" | "camera"} source
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(source, track) {
    await this.#sending.get(source)?.sender.replaceTrack(track).catch(ignoreWhenClosed);
    if (source === "camera") await this.#apply("camera");
  }

  /** What was offered is agreed: the number of encodings may be another one. */
  refresh() {
    for (const source of this.sources) void this.#apply(source);
  }

  /**
   * @param {number} cameraLines what the person chose
   * @param {number} roomLines what a room of this size takes where the server cannot choose between sizes
   */
  limit(cameraLines, roomLines) {
    this.#cameraLines = cameraLines;
    this.#roomLines = roomLines;
    void this.#apply("camera");
  }

  /** @param {WantedLayers[]} tracks what somebody takes of these from now on; the rest is not encoded */
  want(tracks) {
    for (const { track_id, ...wanted } of tracks) {
      // Further tracks of a source have a number behind its name.
      const source = /** @type {Source} */ (track_id.replace(/-\d+$/, ""));
      this.#wanted.set(source, wanted);
      void this.#apply(source);
    }
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   * @param {string} kind
   * @param {RTCRtpEncodingParameters[]} encodings
   * @returns {RTCRtpTransceiver}
   */
  #publish(source, track, kind, encodings) {
    let transceiver = this.#sending.get(source);
    if (transceiver) {
      transceiver.direction = "sendonly";
      void transceiver.sender.replaceTrack(track).catch(ignoreWhenClosed);
    } else {
      transceiver = this.#add(track ?? kind, encodings);
      this.#sending.set(source, transceiver);
    }
    return transceiver;
  }

  /**
   * @param {MediaStreamTrack | string} trackOrKind
   * @param {(RTCRtpEncodingParameters & { scalabilityMode?: string })[]} sendEncodings
   */
  #add(trackOrKind, sendEncodings) {
    /** @type {RTCRtpTransceiverInit} */
    const init = { direction: "sendonly", streams: [this.#stream] };
    try {
      return this.#pc.addTransceiver(trackOrKind, { ...init, sendEncodings });
    } catch (error) {
      // A browser that has no encoder with such layers.
      console.info("addTransceiver:", error);
      return this.#pc.addTransceiver(trackOrKind, {
        ...init,
        sendEncodings: sendEncodings.map(({ scalabilityMode: _, ...encoding }) => encoding),
      });
    }
  }

  /**
   * Bring the encodings of a picture to what is planned for it now.
   * @param {Source} source
   */
  async #apply(source) {
    if (source !== "camera" && source !== "screen") return;
    // Two changes at a time are refused; whatever happens meanwhile is in the next one.
    if (this.#applying.has(source)) {
      this.#applying.set(source, true);
      return;
    }
    do {
      this.#applying.set(source, false);
      await this.#applyOnce(source);
    } while (this.#applying.get(source));
    this.#applying.delete(source);
  }

  /** @param {"camera" | "screen"} source */
  async #applyOnce(source) {
    const sender = this.#sending.get(source)?.sender;
    const parameters = sender?.getParameters();
    if (!sender || !parameters?.encodings?.length) return;
    const plans = this.#plans(source, sender.track, kindOf(parameters));
    let changed = false;
    parameters.encodings.forEach((encoding, index) => {
      const plan = plans[index];
      if (!plan || !differs(encoding, plan)) return;
      Object.assign(encoding, plan);
      changed = true;
    });
    if (!changed) return;
    // Refused while a negotiation is under way in some versions: after it comes `refresh`.
    await sender.setParameters(parameters).catch((error) => console.debug("setParameters:", error.message));
  }

  /**
   * @param {"camera" | "screen"} source
   * @param {MediaStreamTrack | null} track
   * @param {Kind} kind
   * @returns {Plan[]}
   */
  #plans(source, track, kind) {
    const wanted = this.#wanted.get(source) ?? null;
    if (source === "screen") return screenPlans(kind, track?.contentHint === "motion", wanted);
    const { width, height = this.#cameraLines } = track?.getSettings() ?? {};
    const lines = kind === "single" ? Math.min(this.#cameraLines, this.#roomLines) : this.#cameraLines;
    return cameraPlans(kind, { width: width ?? (height * 16) / 9, height }, lines, wanted);
  }
}

/**
 * @param {readonly string[]} rids
 * @returns {(RTCRtpEncodingParameters & { scalabilityMode?: string })[]}
 */
const simulcast = (rids) => rids.map((rid) => ({ rid, scalabilityMode: TEMPORAL_LAYERS }));

/**
 * @param {RTCRtpSendParameters} parameters
 * @returns {Kind} what was agreed: a server or a browser may have turned down the layers
 */
function kindOf({ encodings, codecs }) {
  if (encodings.length > 1) return "simulcast";
  const { scalabilityMode } = /** @type {{ scalabilityMode?: string }} */ (encodings[0] ?? {});
  const codec = codecs[0]?.mimeType.toLowerCase().replace("video/", "");
  const scalable = codec === undefined || SCALABLE.includes(codec);
  return scalable && scalabilityMode !== undefined && encodings[0]?.rid === undefined ? "scalable" : "single";
}

/**
 * @param {RTCRtpEncodingParameters} encoding
 * @param {Plan} plan
 */
const differs = (encoding, plan) => Object.entries(plan).some(([name, value]) => Reflect.get(encoding, name) !== value);

/**
 * The connection may be closed while a step of it is under way; every other failure is worth a line.
 * @param {unknown} error
 */
export function ignoreWhenClosed(error) {
  if (error instanceof DOMException && error.name === "InvalidStateError") return;
  console.error("Negotiation failed:", error);
}
