import { SERVER_ID } from "./protocol.js";
import { preferCodec, repairSound, trimCodecs } from "./codecs.js";

/**
 * @import { AnswerRequest, OfferRequest, Source } from "./protocol.js"
 * @import { CameraBudget } from "./budget.js"
 */

/** Pairs of m-sections (audio k, video k) that can carry a person each: browsers synchronise the two of a pair. */
const SLOT_PAIRS = 16;
/** Video m-sections beyond the pairs: screens and second cameras. */
const EXTRA_VIDEO_SLOTS = 4;
/** The server answers an offer within milliseconds; after this long the connection to it is only a semblance. */
const ANSWER_MS = 8_000;
/** Text has to stay readable: enough for 1080p at a few frames a second. */
const SCREEN_BITRATE = 2_500_000;

/**
 * @typedef {object} PeerListener
 * @property {(state: RTCPeerConnectionState) => void} onState
 * @property {(restarted: boolean) => void} onNegotiated what was offered last is agreed; an ICE restart was in it
 * @property {(code: string, message: string, fatal: boolean) => void} onRefused the server refused an offer; fatal: the first
 * @property {() => void} onStalled an offer stays without an answer
 * @property {() => void} onStale the server cannot go on with this connection: another one has to take its place
 */

/**
 * The connection that all media runs through: own tracks up, slots down. The client is the polite side of perfect
 * negotiation. No candidates are sent: the server is ICE-lite and learns the address from the checks.
 */
export class Peer {
  #pc;
  #send;
  #listener;
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #sending = new Map();
  /** @type {RTCRtpTransceiver[]} */
  #slots = [];
  #stream = new MediaStream();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #answerTimer;
  /** The offer that is on its way, or the next one, restarts ICE. */
  #restarting = false;

  /**
   * @param {RTCIceServer[]} iceServers
   * @param {(message: OfferRequest | AnswerRequest) => void} send
   * @param {PeerListener} listener
   */
  constructor(iceServers, send, listener) {
    this.#send = send;
    this.#listener = listener;
    this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#pc.onconnectionstatechange = () => listener.onState(this.#pc.connectionState);
    this.#pc.onnegotiationneeded = () => void this.#offer();
  }

  /**
   * Offer microphone, camera and slots; each of the two may come later, its m-section is there from the start.
   * @param {MediaStreamTrack | null} microphone
   * @param {MediaStreamTrack | null} camera
   * @param {{ codec: string | null }} options codec: the video codec to prefer
   */
  start(microphone, camera, { codec }) {
    this.#publish("microphone", microphone, "audio", {});
    preferCodec(this.#publish("camera", camera, "video", {}), codec);
    for (let pair = 0; pair < SLOT_PAIRS + EXTRA_VIDEO_SLOTS; pair++) {
      if (pair < SLOT_PAIRS) this.#slots.push(this.#pc.addTransceiver("audio", { direction: "recvonly" }));
      this.#slots.push(this.#pc.addTransceiver("video", { direction: "recvonly" }));
    }
    this.#slots.forEach(trimCodecs);
  }

  get connectionState() {
    return this.#pc.connectionState;
  }

  /** An offer of ours was answered: the server knows our tracks. */
  get isAgreed() {
    return this.#pc.currentRemoteDescription !== null;
  }

  /**
   * @param {string} mid
   * @returns {RTCRtpReceiver | null} of the slot with that mid
   */
  receiver(mid) {
    return this.#slots.find((slot) => slot.mid === mid)?.receiver ?? null;
  }

  /** @returns {Source[]} what the server was or is being told to expect */
  get sources() {
    return [...this.#sending].filter(([, t]) => t.direction === "sendonly").map(([source]) => source);
  }

  /**
   * @param {string} mid
   * @returns {Source | null} what is sent there
   */
  sourceOf(mid) {
    return [...this.#sending].find(([, transceiver]) => transceiver.mid === mid)?.[0] ?? null;
  }

  getStats() {
    return this.#pc.getStats();
  }

  /**
   * @param {"microphone" | "camera"} source
   * @param {MediaStreamTrack | null} track
   */
  async setTrack(source, track) {
    await this.#sending.get(source)?.sender.replaceTrack(track).catch(ignoreWhenClosed);
  }

  /**
   * Publish a screen and, where the browser gives it, its sound. Takes a new offer.
   * @param {MediaStream} stream
   */
  startScreen(stream) {
    for (const track of stream.getTracks()) {
      const source = track.kind === "video" ? "screen" : "screen-audio";
      this.#publish(source, track, track.kind, track.kind === "video" ? { maxBitrate: SCREEN_BITRATE } : {});
    }
  }

  stopScreen() {
    for (const source of /** @type {Source[]} */ (["screen", "screen-audio"])) {
      const transceiver = this.#sending.get(source);
      if (!transceiver) continue;
      transceiver.direction = "inactive";
      void transceiver.sender.replaceTrack(null).catch(ignoreWhenClosed);
    }
  }

  /** @param {CameraBudget} budget what the camera's picture may cost in a call of this size */
  async setCameraBudget({ height, maxBitrate }) {
    const sender = this.#sending.get("camera")?.sender;
    const parameters = sender?.getParameters();
    const encoding = parameters?.encodings[0];
    if (!sender || !parameters || !encoding) return;
    const captured = sender.track?.getSettings().height ?? height;
    encoding.maxBitrate = maxBitrate;
    encoding.scaleResolutionDownBy = Math.max(1, captured / height);
    // Refused while a negotiation is under way in some versions; the next change of the room tries again.
    await sender.setParameters(parameters).catch((error) => console.debug("setParameters:", error.message));
  }

  /** @param {string} sdp an offer of the server: it wins, an offer of our own is rolled back and made again */
  async handleOffer(sdp) {
    try {
      clearTimeout(this.#answerTimer);
      await this.#pc.setRemoteDescription({ type: "offer", sdp });
      await this.#pc.setLocalDescription();
      this.#send({ type: "answer", to: SERVER_ID, sdp: this.#pc.localDescription?.sdp ?? "" });
    } catch (error) {
      ignoreWhenClosed(error);
    }
  }

  /** @param {string} sdp */
  async handleAnswer(sdp) {
    // An answer that comes twice, or after a rollback, answers nothing.
    if (this.#pc.signalingState !== "have-local-offer") return;
    clearTimeout(this.#answerTimer);
    try {
      await this.#pc.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      ignoreWhenClosed(error);
      return;
    }
    const restarted = this.#restarting;
    this.#restarting = false;
    this.#listener.onNegotiated(restarted);
  }

  /**
   * The server refused what was offered.
   * @param {string} code
   * @param {string} message
   */
  async handleRefusal(code, message) {
    // Glare: the server's own offer is on its way and rolls ours back.
    if (code === "glare" || this.#pc.signalingState !== "have-local-offer") return;
    clearTimeout(this.#answerTimer);
    if (!this.isAgreed) {
      this.close();
      this.#listener.onRefused(code, message, true);
      return;
    }
    if (this.#restarting) {
      this.#listener.onStale();
      return;
    }
    // Withdrawn before the rollback, so that what the browser offers after it is what the server accepted before.
    this.stopScreen();
    for (const [source, transceiver] of this.#sending) {
      if (transceiver.currentDirection !== null) continue;
      transceiver.stop();
      this.#sending.delete(source);
    }
    await this.#pc.setLocalDescription({ type: "rollback" }).catch(ignoreWhenClosed);
    this.#listener.onRefused(code, message, false);
  }

  /** A new WebSocket took over: an offer without an answer may never have arrived. */
  resume() {
    if (this.#pc.signalingState === "have-local-offer") this.#sendOffer();
  }

  /** Look for another path; media goes on over the old one as long as that works. */
  restartIce() {
    this.resume();
    if (this.#restarting) return;
    this.#restarting = true;
    this.#pc.restartIce();
  }

  /** @returns {string} where the server awaits media, as its description says: "192.0.2.1:40000" */
  get serverAddress() {
    const sdp = this.#pc.remoteDescription?.sdp ?? "";
    const [, address, port] = /^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) /im.exec(sdp) ?? [];
    return address && port ? (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`) : "";
  }

  close() {
    clearTimeout(this.#answerTimer);
    this.#pc.onconnectionstatechange = this.#pc.onnegotiationneeded = null;
    this.#pc.close();
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   * @param {string} kind
   * @param {RTCRtpEncodingParameters} encoding
   * @returns {RTCRtpTransceiver}
   */
  #publish(source, track, kind, encoding) {
    let transceiver = this.#sending.get(source);
    if (transceiver) {
      transceiver.direction = "sendonly";
      void transceiver.sender.replaceTrack(track).catch(ignoreWhenClosed);
    } else {
      transceiver = this.#pc.addTransceiver(track ?? kind, {
        direction: "sendonly",
        streams: [this.#stream],
        sendEncodings: [encoding],
      });
      this.#sending.set(source, transceiver);
    }
    return transceiver;
  }

  async #offer() {
    try {
      const { sdp = "" } = await this.#pc.createOffer();
      // A server's offer may have come in meanwhile; then it is answered, and this event fires again.
      if (this.#pc.signalingState !== "stable") return;
      await this.#pc.setLocalDescription({ type: "offer", sdp: repairSound(sdp) });
    } catch (error) {
      ignoreWhenClosed(error);
      return;
    }
    this.resume();
  }

  #sendOffer() {
    const sdp = this.#pc.localDescription?.sdp;
    if (!sdp) return;
    /** @type {Record<string, Source>} */
    const sources = {};
    for (const [source, { mid, direction }] of this.#sending) {
      if (mid !== null && direction === "sendonly") sources[mid] = source;
    }
    this.#send({ type: "offer", to: SERVER_ID, sdp, sources });
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => this.#listener.onStalled(), ANSWER_MS);
  }
}

/**
 * The connection may be closed while a step of it is under way; every other failure is worth a line.
 * @param {unknown} error
 */
function ignoreWhenClosed(error) {
  if (error instanceof DOMException && error.name === "InvalidStateError") return;
  console.error("Negotiation failed:", error);
}
