import { roomLines } from "./budget.js";
import { Health } from "./health.js";
import { MuteTeller } from "./muting.js";
import { NetworkWatch } from "./network.js";
import { Peer } from "./peer.js";
import { Playback } from "./playback.js";
import { Roster } from "./roster.js";
import { ScreenShare } from "./screen.js";
import { Signaling } from "./signaling.js";
import { ViewTeller } from "./view.js";

/**
 * @import { Identity } from "./api.js"
 * @import { EndReason } from "./signaling.js"
 * @import { LocalMedia } from "./media.js"
 * @import { JoinRequest, RoomState, ServerMessage, Source } from "./protocol.js"
 * @import { Sight } from "./view.js"
 */

/**
 * connecting: not yet in · connected: signalling and media work · reconnecting: one of them was lost ·
 * unreachable: signalling works and media never came up
 * @typedef {"connecting" | "connected" | "reconnecting" | "unreachable"} Connection
 */

/**
 * @typedef {object} CallEvents
 * @property {() => void} onChange something that is shown has changed
 * @property {() => void} onSpeaking the roster's speakers have changed, which they do often
 * @property {(event: "joined" | "left", name: string) => void} onPerson
 * @property {(code: string, message: string, fatal: boolean) => void} onRefused the server refused what was offered
 * @property {() => void} onReturn the page or the computer was away
 * @property {(reason: EndReason, detail: string) => void} onEnd
 */

/**
 * @typedef {object} CallOptions
 * @property {string} roomId
 * @property {string} name
 * @property {Identity | null} kept who this tab was before a reload
 * @property {string | null} codec
 * @property {LocalMedia} media
 * @property {HTMLElement} speakers parent of the audio elements
 * @property {CallEvents} events
 */

/** A WebSocket that comes back within this while media flows is nobody's business. */
const UNNOTICED_MS = 2_000;
/** For who comes next, so that nobody has to wait for a negotiation. */
const SPARE_SLOTS = 2;

/** A call: signalling, the peer connection, the devices and the roster, each told what the others bring. */
export class Call {
  roster = new Roster();
  /** When the next attempt to reach the server is due (performance.now()); null while connected or trying. */
  /** @type {number | null} */
  retryAt = null;
  /** The browser plays sound only after a click. */
  playbackRefused = false;
  /** @type {Peer | null} */
  #peer = null;
  #health = new Health({
    onUnreachable: () => {
      this.#unreachable = true;
      this.#options.events.onChange();
    },
    onRestart: () => this.#restart(),
    onRenew: () => this.renew(),
    onRejoin: () => {
      this.#disconnect();
      this.#signaling.reconnect();
    },
  });
  #unreachable = false;
  #wasConnected = false;
  #joined = false;
  /** When signalling was lost (performance.now()). */
  #lostAt = -Infinity;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** How many pictures of others are shown at a time. */
  #pictures = 0;
  #options;
  #signaling;
  #network;
  #mutes;
  #view;

  /** @param {CallOptions} options */
  constructor(options) {
    this.#options = options;
    this.#signaling = new Signaling(options.roomId, options.name, {
      onOpen: (userId) => this.#onOpen(userId),
      onMessage: (message) => void this.#onMessage(message),
      onWaiting: (dueAt) => this.#onWaiting(dueAt),
      onEnd: (reason, detail) => this.#end(reason, detail),
    });
    this.#mutes = new MuteTeller(this.roster, options.media, (message) => this.#signaling.send(message));
    this.#view = new ViewTeller(
      this.roster,
      () => this.#peer?.pictureSlots ?? [],
      (message) => this.#joined && this.#signaling.send(message),
    );
    this.playback = new Playback(options.speakers, (refused) => {
      this.playbackRefused = refused;
      options.events.onChange();
    });
    this.screen = new ScreenShare((stream) => this.#onScreen(stream));
    this.#network = new NetworkWatch({
      onChange: () => this.#networkChanged(),
      onReturn: () => this.#returned(),
    });
  }

  start() {
    this.#signaling.start(this.#options.kept);
  }

  get userId() {
    return this.roster.selfId;
  }

  /** To come back as the same participant. */
  get identity() {
    return this.#signaling.identity;
  }

  /** @returns {Connection} */
  get connection() {
    const signalling = this.#joined || performance.now() - this.#lostAt < UNNOTICED_MS;
    if (signalling && this.mediaFlows) return "connected";
    if (this.#joined && this.#unreachable) return "unreachable";
    return this.#wasConnected || this.retryAt !== null ? "reconnecting" : "connecting";
  }

  /** Whatever the state of the signalling. */
  get mediaFlows() {
    return this.#peer?.connectionState === "connected";
  }

  /** Where the server awaits media, for the notice that it cannot be reached. */
  get serverAddress() {
    return this.#peer?.serverAddress ?? "";
  }

  retryNow() {
    this.#signaling.retryNow();
  }

  /** Give up the peer connection and make another. Without signalling the next room-state does this. */
  renew() {
    if (this.#joined) this.#connect();
    this.#options.events.onChange();
  }

  /**
   * The device's track changed (LocalMedia's onTrack).
   * @param {"microphone" | "camera"} input
   */
  async updateTrack(input) {
    if (input === "camera") this.#limit();
    await this.#peer?.publishing.setTrack(input, this.#options.media.tracks[input]);
  }

  /** @param {string | null} codec that the camera is sent in from now on; null: the browser chooses */
  setCodec(codec) {
    this.#options.codec = codec;
    this.renew();
  }

  /** @param {Sight} sight what is before the person's eyes now */
  look(sight) {
    this.#pictures = sight.pictures.length;
    if (this.#peer?.isAgreed) this.#peer.makeRoom(this.#pictures + SPARE_SLOTS);
    this.#view.look(sight);
  }

  /** Tell the others what is muted now (LocalMedia's onChange). */
  tellMuted() {
    if (this.#joined && this.#peer?.isAgreed) this.#mutes.tell(this.#peer.publishing.sources);
  }

  async leave() {
    this.#stop();
    await this.#signaling.leave();
  }

  /** Stop without a goodbye. */
  close() {
    this.#stop();
    this.#signaling.close();
  }

  /** @param {string} userId */
  #onOpen(userId) {
    this.roster.selfId = userId;
    this.#signaling.send(this.#joinRequest());
  }

  /** @returns {JoinRequest} */
  #joinRequest() {
    return { type: "join", user_id: this.userId, user_name: this.#options.name, delivery: "slots" };
  }

  /** @param {number | null} dueAt */
  #onWaiting(dueAt) {
    if (this.#joined) this.#lostAt = performance.now();
    this.#joined = false;
    this.retryAt = dueAt;
    this.roster.clearSpeakers();
    this.#options.events.onSpeaking();
    this.#options.events.onChange();
  }

  /** @param {ServerMessage} message */
  async #onMessage(message) {
    const { events } = this.#options;
    if (message.type === "user-joined" && !this.roster.participants.has(message.user_id)) {
      if (message.user_id !== this.userId) events.onPerson("joined", message.user_name);
    }
    const leaving = message.type === "user-left" && this.roster.participants.get(message.user_id);
    if (leaving) events.onPerson("left", leaving.name);
    const stranger = message.type === "room-state" && message.user_id !== this.roster.selfId;
    this.roster.apply(message);
    if (message.type === "dominant-speaker" || message.type === "audio-levels") {
      events.onSpeaking();
      return;
    }
    if (message.type === "room-state") this.#onRoomState(message, stranger);
    else if (message.type === "answer" && message.from === "sfu") await this.#peer?.handleAnswer(message.sdp);
    else if (message.type === "offer" && message.from === "sfu") await this.#peer?.handleOffer(message.sdp);
    else if (message.type === "error") await this.#onError(message.code, message.message, message.request);
    else if (message.type === "user-joined" || message.type === "user-left") this.#limit();
    else if (message.type === "slots") this.#view.changed();
    else if (message.type === "layers-wanted") this.#peer?.publishing.want(message.tracks);
    events.onChange();
  }

  /**
   * @param {RoomState} state
   * @param {boolean} stranger the server gave us another id than the one that the connection was made with
   */
  #onRoomState(state, stranger) {
    const again = this.#joined; // the answer to a probe: nothing is new
    this.#joined = true;
    this.retryAt = null;
    this.#iceServers = state.ice_servers;
    this.#mutes.reset();
    this.#view.forget();
    this.#view.changed();
    if (again) {
      this.tellMuted();
      return;
    }
    // The server knows this connection as long as it knows its tracks; after a restart it knows neither.
    const known = this.#mutes.isKnown && !stranger;
    if (!this.#peer || !known) {
      this.#connect();
      return;
    }
    this.tellMuted();
    if (this.mediaFlows) this.#peer.resume();
    else if (this.#health.wasConnected) this.#health.restart();
    else this.#connect();
  }

  /**
   * @param {string} code
   * @param {string} message
   * @param {string | null} request
   */
  async #onError(code, message, request) {
    console.warn(`The server refused ${request ?? "a message"}: ${code}: ${message}`);
    if (code === "internal") this.#health.broken();
    else if (request === "view") this.#view.refuse();
    else if (request === "offer") await this.#peer?.handleRefusal(code, message);
  }

  /** Look for another way to the server, for media and, if it is dead, for signalling. */
  #restart() {
    this.#signaling.probe(this.#joinRequest());
    this.#peer?.restartIce();
    this.#options.events.onChange();
  }

  #networkChanged() {
    this.#options.events.onReturn();
    this.#signaling.probe(this.#joinRequest());
    this.#health.restart();
  }

  /** The tab is looked at again: browsers stop a lot while it is not. */
  #returned() {
    this.#options.events.onReturn();
    this.#signaling.probe(this.#joinRequest());
    if (!this.mediaFlows) this.#health.restart();
    void this.playback.resume();
  }

  /** Make a peer connection, in place of the one that there may be. */
  #connect() {
    this.#disconnect();
    const { media, events } = this.#options;
    this.#health.begin();
    const peer = new Peer(this.#iceServers, (message) => this.#signaling.send(message), {
      onState: (state) => {
        this.#health.update(state);
        if (state === "connected") {
          this.#wasConnected = true;
          this.#unreachable = false;
        }
        events.onChange();
      },
      onNegotiated: (restarted) => {
        if (restarted && this.mediaFlows) this.#health.restarted();
        else this.#health.negotiated();
        this.tellMuted();
        this.#view.changed();
        events.onChange();
      },
      onRefused: (code, message, fatal) => {
        this.screen.stop();
        events.onRefused(code, message, fatal);
      },
      onStalled: () => this.#signaling.reconnect(),
      onStale: () => this.#health.broken(),
    });
    this.#peer = peer;
    this.#mutes.forget();
    this.#view.forget();
    peer.start(media.tracks.microphone, media.tracks.camera, {
      codec: this.#options.codec,
      pictures: this.#pictures + SPARE_SLOTS,
    });
    this.#limit();
    if (this.screen.stream) peer.publishing.publishScreen(this.screen.stream);
  }

  #disconnect() {
    this.#health.stop();
    this.#peer?.close();
    this.#peer = null;
    this.playback.clear();
    this.roster.clearSlots();
  }

  /** @param {MediaStream | null} stream the screen that is shared from now on */
  #onScreen(stream) {
    if (stream) this.#peer?.publishing.publishScreen(stream);
    else this.#peer?.publishing.withdrawScreen();
    this.#options.events.onChange();
  }

  #limit() {
    this.#peer?.publishing.limit(this.#options.media.options.cameraHeight, roomLines(this.roster.participants.size));
  }

  /**
   * @param {string} mid
   * @returns {RTCRtpReceiver | null}
   */
  receiver(mid) {
    return this.#peer?.receiver(mid) ?? null;
  }

  /**
   * @param {string} mid
   * @returns {Source | null} what this tab sends there
   */
  sentSource(mid) {
    return this.#peer?.publishing.sourceOf(mid) ?? null;
  }

  /** @returns {Promise<RTCStatsReport | null>} of the peer connection that there is now */
  async stats() {
    return (await this.#peer?.getStats()) ?? null;
  }

  #stop() {
    this.#network.close();
    this.#view.forget();
    this.screen.stop();
    this.#disconnect();
    this.#joined = false;
  }

  /**
   * @param {EndReason} reason
   * @param {string} detail
   */
  #end(reason, detail) {
    this.#stop();
    this.#options.events.onEnd(reason, detail);
  }
}
