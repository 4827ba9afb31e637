import { Call } from "./call.js";
import { LevelMeter } from "./level.js";
import { LipSync } from "./lip-sync.js";
import { loadPreferences, saveCall, savePreferences } from "./settings.js";
import { CallStatistics } from "./stats.js";
import { buildTiles, LocalPictures } from "./tiles.js";
import { WakeLock } from "./wake-lock.js";
import { CallView } from "./ui/call-view.js";
import { announce } from "./ui/notices.js";
import { shownProblems } from "./ui/problems.js";
import { t } from "./i18n/index.js";

/**
 * @import { Identity } from "./api.js"
 * @import { EndReason } from "./signaling.js"
 * @import { Input } from "./devices.js"
 * @import { LocalMedia } from "./media.js"
 */

/** Kept fresh in sessionStorage: a tab that comes back within the grace time is still the same participant. */
const KEEP_EVERY_MS = 10_000;
const COUNTDOWN_MS = 500;
/** How often the microphone is listened to. */
const LISTEN_EVERY_MS = 200;
const LIP_SYNC_EVERY_MS = 1000;
/** A microphone that gives nothing but zeros for so long, from the start or after a sleep, does not work. */
const DEAD_MICROPHONE_MS = 10_000;

/**
 * @typedef {object} CallScreenOptions
 * @property {HTMLElement} root
 * @property {string} roomId
 * @property {string} name
 * @property {Identity | null} kept who this tab was before a reload
 * @property {string | null} codec
 * @property {LocalMedia} media
 * @property {(reason: EndReason, detail: string, identity: Identity | null) => void} onEnd the call is over; closing the devices is the
 *   caller's
 */

/** Ties a call to its page: what happens in one is shown in the other. */
export class CallScreen {
  #options;
  #media;
  #view;
  #call;
  #statistics;
  #pictures = new LocalPictures();
  #level = new LevelMeter();
  #wakeLock = new WakeLock();
  #timers;
  #updating = false;
  /** @type {Set<string>} problems that were shown, here or before the call: closed, they do not come back by themselves */
  #seen;
  /** @type {Record<Input, boolean>} */
  #announced;

  /** @param {CallScreenOptions} options */
  constructor(options) {
    this.#options = options;
    this.#media = options.media;
    this.#announced = { microphone: this.#media.isOn("microphone"), camera: this.#media.isOn("camera") };
    this.#seen = new Set(shownProblems(this.#media).map(({ title }) => title));
    this.#view = new CallView(options.root, options.roomId, options.media, {
      onCodec: (codec) => this.#call.setCodec(codec),
      onSight: (sight) => this.#call.look(sight),
      onScreen: () => void this.#toggleScreen(),
      onLeave: () => void this.#leave(),
      onSpeaker: (deviceId) => void this.#call.playback.setSpeaker(deviceId),
      readStatistics: () => this.#statistics.read(),
      onInputFailed: () => {
        this.#seen.clear(); // closed or not, now it is asked for
        this.#changed();
      },
    });
    this.#call = new Call({
      ...options,
      speakers: this.#view.speakers,
      events: {
        onChange: () => this.#changed(),
        onSpeaking: () => this.#showSpeakers(),
        onPerson: (event, name) => this.#view.notices.toast(event === "joined" ? "call.joined" : "call.left", { name }),
        onRefused: (_code, message, fatal) => this.#refused(message, fatal),
        onReturn: () => this.#level.doubt(),
        onEnd: (reason, detail) => this.#end(reason, detail),
      },
    });
    this.#statistics = new CallStatistics(this.#call);
    const lipSync = new LipSync(this.#call);
    void this.#call.playback.setSpeaker(loadPreferences().speakerId);
    this.#media.listener = {
      onTrack: (input) => void this.#call.updateTrack(input),
      onChange: () => this.#mediaChanged(),
      onNewDevice: (device) => this.#offerDevice(device),
      onReplaced: (input, name) => this.#view.notices.toast(`notice.replaced.${input}`, { name }),
    };
    this.#timers = [
      setInterval(() => this.#keep(), KEEP_EVERY_MS),
      setInterval(() => this.#showConnection(), COUNTDOWN_MS),
      setInterval(() => this.#watchMicrophone(), LISTEN_EVERY_MS),
      setInterval(() => void lipSync.keep(), LIP_SYNC_EVERY_MS),
    ];
    window.addEventListener("pagehide", this.#onPageHide);
    window.addEventListener("languagechosen", this.#onLanguage);
    void this.#media.refreshDevices();
    this.#call.start();
    this.#update();
  }

  #onPageHide = () => this.#keep();
  #onLanguage = () => this.#changed();

  /** Many messages may come in one turn; the page is brought up to date once. */
  #changed() {
    if (this.#updating) return;
    this.#updating = true;
    queueMicrotask(() => {
      this.#updating = false;
      this.#update();
    });
  }

  #update() {
    if (this.#timers.length === 0) return;
    const call = this.#call;
    this.#view.update({
      people: call.roster.participants.size,
      tiles: buildTiles(call, this.#media, this.#pictures),
      sharing: call.screen.stream !== null,
      mediaFlows: call.mediaFlows,
    });
    this.#showSpeakers();
    this.#showConnection();
    this.#showPlayback();
    this.#showProblems();
  }

  #mediaChanged() {
    this.#call.tellMuted();
    for (const input of /** @type {Input[]} */ (["microphone", "camera"])) {
      const on = this.#media.isOn(input);
      if (on === this.#announced[input]) continue;
      this.#announced[input] = on;
      const [whenOn, whenOff] = ANNOUNCEMENTS[input];
      announce(t(on ? whenOn : whenOff));
    }
    this.#keep();
    this.#changed();
  }

  #showConnection() {
    const { notices } = this.#view;
    const { retryAt, connection, serverAddress } = this.#call;
    this.#view.setConnection(connection);
    if (retryAt === null || connection === "connected") notices.set("reconnecting", null);
    else {
      const count = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
      notices.set("reconnecting", {
        glyph: "warning",
        title: "notice.reconnecting",
        text: "notice.reconnecting.text",
        values: { count },
        action: "notice.retry",
        onAction: () => this.#call.retryNow(),
        grave: true,
      });
    }
    const address = serverAddress || t("notice.unreachable.server");
    notices.set(
      "unreachable",
      connection === "unreachable"
        ? { glyph: "warning", title: "notice.unreachable", text: "notice.unreachable.text", values: { address }, grave: true }
        : null,
    );
  }

  #showPlayback() {
    this.#view.notices.set(
      "playback",
      this.#call.playbackRefused
        ? {
            glyph: "sound",
            title: "notice.playback",
            action: "notice.playback.action",
            onAction: () => void this.#call.playback.resume(),
          }
        : null,
    );
  }

  #showProblems() {
    const problems = shownProblems(this.#media);
    for (const input of /** @type {const} */ (["both", "camera", "microphone"])) {
      const problem = problems.find((shown) => shown.input === input);
      const key = `problem-${input}`;
      if (!problem) this.#view.notices.set(key, null);
      else if (!this.#seen.has(problem.title)) {
        this.#seen.add(problem.title);
        this.#view.notices.set(key, {
          glyph: "warning",
          title: problem.title,
          text: problem.text,
          action: problem.text === "problem.insecure.text" ? undefined : problem.restart,
          onAction: () => this.#restartDevices(problem.input),
          closable: true,
        });
      }
    }
    if (problems.length === 0) this.#seen.clear();
  }

  /** @param {"both" | Input} which */
  #restartDevices(which) {
    this.#seen.clear(); // asked for: whether it helped has to be seen
    for (const input of /** @type {Input[]} */ (["camera", "microphone"])) {
      if (which !== "both" && which !== input) continue;
      this.#view.notices.set(`problem-${which}`, null);
      void this.#media.restart(input);
    }
  }

  /** @param {MediaDeviceInfo} device */
  #offerDevice(device) {
    const { notices } = this.#view;
    notices.set("device", {
      glyph: "microphone",
      title: "notice.device",
      values: { name: device.label },
      action: "notice.device.action",
      closable: true,
      onAction: () => {
        notices.set("device", null);
        savePreferences({ microphoneId: device.deviceId });
        this.#media.options.microphoneId = device.deviceId;
        void this.#media.reopen("microphone");
      },
    });
  }

  /**
   * @param {string} message
   * @param {boolean} fatal
   */
  #refused(message, fatal) {
    const { notices } = this.#view;
    notices.set("refused", {
      glyph: "warning",
      title: fatal ? "notice.refused" : "notice.refused.screen",
      detail: message,
      action: fatal ? "prejoin.again" : undefined,
      onAction: () => {
        notices.set("refused", null);
        this.#call.renew();
      },
      closable: true,
      grave: true,
    });
  }

  #showSpeakers() {
    const { levels, dominant } = this.#call.roster;
    this.#view.setSpeaking(levels, dominant);
  }

  #watchMicrophone() {
    this.#level.attach(this.#media.isOn("microphone") ? this.#media.tracks.microphone : null);
    this.#level.read();
    const { silentMs } = this.#level;
    if (silentMs === 0 || silentMs > DEAD_MICROPHONE_MS) this.#media.reportSilence(silentMs > 0);
  }

  async #toggleScreen() {
    const { screen } = this.#call;
    if (screen.stream) {
      screen.stop();
      announce(t("notice.screen.off"));
      return;
    }
    const allowed = await screen.start(loadPreferences().screenMotion);
    this.#view.notices.set(
      "screen",
      allowed
        ? null
        : { glyph: "screen", title: "notice.screen.failed", text: "notice.screen.failed.text", closable: true },
    );
    if (screen.stream) announce(t("notice.screen.on"));
  }

  async #leave() {
    const leaving = this.#call.leave();
    this.#end("left", "");
    await leaving;
  }

  /** Remember this call for a reload. */
  #keep() {
    const { roomId, name } = this.#options;
    const { identity } = this.#call;
    if (!identity || this.#timers.length === 0) return;
    const { microphoneOn, cameraOn } = this.#media.options;
    saveCall({ roomId, identity, name, microphoneOn, cameraOn });
  }

  /**
   * @param {EndReason} reason
   * @param {string} detail
   */
  #end(reason, detail) {
    this.#timers.forEach(clearInterval);
    this.#timers = [];
    window.removeEventListener("pagehide", this.#onPageHide);
    window.removeEventListener("languagechosen", this.#onLanguage);
    saveCall(null);
    this.#level.close();
    this.#wakeLock.close();
    this.#pictures.clear();
    this.#view.close();
    this.#options.onEnd(reason, detail, this.#call.identity);
  }
}

/** @type {Record<Input, ["notice.unmuted" | "notice.camera.on", "notice.muted" | "notice.camera.off"]>} */
const ANNOUNCEMENTS = {
  microphone: ["notice.unmuted", "notice.muted"],
  camera: ["notice.camera.on", "notice.camera.off"],
};
