import { SERVER_ID } from "./protocol.js";
import { repairSound, trimCodecs } from "./codecs.js";
import { ignoreWhenClosed, Publishing } from "./publishing.js";

/**
 * @import { AnswerRequest, OfferRequest } from "./protocol.js"
 */

/** Pictures that a call begins with room for; more are added when a larger grid is shown. */
const FIRST_PICTURES = 9;
/** A browser decodes no more than this at a time. */
const MOST_PICTURES = 49;
/** M-sections for sound: those of a person's sound and picture are a pair (audio k, video k), which browsers synchronise. */
const MOST_SOUNDS = 16;
/** Room is made for so many pictures at a time: each time costs a negotiation. */
const MORE_PICTURES = 8;
/** The server answers an offer within milliseconds; after this long the connection to it is only a semblance. */
const ANSWER_MS = 8_000;

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
  /** What this tab sends. */
  publishing;
  /** @type {Record<"audio" | "video", RTCRtpTransceiver[]>} */
  #slots = { audio: [], video: [] };
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
    this.publishing = new Publishing(this.#pc);
    this.#pc.onconnectionstatechange = () => listener.onState(this.#pc.connectionState);
    this.#pc.onnegotiationneeded = () => void this.#offer();
  }

  /**
   * Offer microphone, camera and slots; each of the two may come later, its m-section is there from the start.
   * @param {MediaStreamTrack | null} microphone
   * @param {MediaStreamTrack | null} camera
   * @param {{ codec: string | null, pictures: number }} options codec: that of the camera · pictures: see `makeRoom`
   */
  start(microphone, camera, { codec, pictures }) {
    this.publishing.publishMicrophone(microphone);
    this.publishing.publishCamera(camera, codec);
    this.makeRoom(Math.max(FIRST_PICTURES, pictures));
  }

  /**
   * Declare as many slots as it takes to show so many pictures at a time. Slots are never taken away.
   * @param {number} pictures
   */
  makeRoom(pictures) {
    const have = this.#slots.video.length;
    if (pictures <= have) return;
    const wanted = Math.min(MOST_PICTURES, Math.max(pictures, have && have + MORE_PICTURES));
    for (let index = have; index < wanted; index++) {
      if (index < MOST_SOUNDS) this.#addSlot("audio");
      this.#addSlot("video");
    }
  }

  /** @returns {string[]} mids of all slots for pictures that are agreed */
  get pictureSlots() {
    return this.#slots.video.flatMap(({ mid, currentDirection }) => (mid !== null && currentDirection ? [mid] : []));
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
    const slots = [...this.#slots.audio, ...this.#slots.video];
    return slots.find((slot) => slot.mid === mid)?.receiver ?? null;
  }

  getStats() {
    return this.#pc.getStats();
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
    this.publishing.refresh();
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
    this.publishing.withdrawRefused();
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

  /** @param {"audio" | "video"} kind */
  #addSlot(kind) {
    const slot = this.#pc.addTransceiver(kind, { direction: "recvonly" });
    trimCodecs(slot);
    this.#slots[kind].push(slot);
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
    this.#send({ type: "offer", to: SERVER_ID, sdp, sources: this.publishing.sourcesByMid });
    clearTimeout(this.#answerTimer);
    this.#answerTimer = setTimeout(() => this.#listener.onStalled(), ANSWER_MS);
  }
}
