import { setText, t } from "../i18n/index.js";
import { h, setData } from "./dom.js";
import { icon, setIcon } from "./icons.js";
import { callLink, copyLink, invitation } from "./invitation.js";
import { Notices } from "./notices.js";
import { loadPreferences, savePreferences } from "../settings.js";
import { settingsDialog } from "./settings-dialog.js";
import { listenForShortcuts } from "./shortcuts.js";
import { Stage } from "./stage.js";
import { StatsPanel } from "./stats-panel.js";
import { inputToggle, screenToggle } from "./toggles.js";

/**
 * @import { Connection } from "../call.js"
 * @import { LocalMedia } from "../media.js"
 * @import { CallValues } from "../stats.js"
 * @import { Sight } from "../view.js"
 * @import { TileModel } from "./tile.js"
 */

const COPIED_MS = 2_000;

/**
 * @typedef {object} CallViewListener
 * @property {() => void} onScreen share the screen, or stop
 * @property {() => void} onLeave
 * @property {(deviceId: string) => void} onSpeaker
 * @property {() => Promise<CallValues>} readStatistics
 * @property {(codec: string | null) => void} onCodec of the camera's picture
 * @property {(sight: Sight) => void} onSight something else is before the person's eyes
 * @property {() => void} onInputFailed microphone or camera was to be turned on and could not
 */

/**
 * @typedef {object} CallModel
 * @property {number} people
 * @property {TileModel[]} tiles
 * @property {boolean} sharing
 * @property {boolean} mediaFlows
 */

/** The call's page: a bar above, the stage, the controls below. Shows a model, knows nothing of connections. */
export class CallView {
  notices = new Notices();
  /** Where the audio elements live. */
  speakers = h("div", { hidden: true });
  #root;
  #media;
  #stage;
  #settings;
  #statistics;
  #microphone;
  #camera;
  #screen;
  #copyIcon = icon("link");
  #copyName = h("span", { class: "control-name", t: "control.copy" });
  #layout;
  #people = h("span", {});
  #connection = h("span", { class: "connection-name" });
  #stopShortcuts;

  /**
   * @param {HTMLElement} root
   * @param {string} roomId
   * @param {LocalMedia} media
   * @param {CallViewListener} listener
   */
  constructor(root, roomId, media, listener) {
    this.#root = root;
    this.#media = media;
    this.#stage = new Stage(invitation(), loadPreferences().layout, listener.onSight);
    this.#layout = h(
      "button",
      { class: "layout-toggle", id: "layout", type: "button", on: { click: () => this.#toggleLayout() } },
      icon("speaker"),
      h("span", { class: "layout-name", t: "call.layout.speaker" }),
    );
    this.#showLayout();
    this.#statistics = new StatsPanel(listener.readStatistics);
    this.#settings = settingsDialog(media, { ...listener, onStatistics: () => this.#statistics.toggle() });
    this.#microphone = inputToggle("microphone", media, listener.onInputFailed);
    this.#camera = inputToggle("camera", media, listener.onInputFailed);
    this.#screen = screenToggle(listener.onScreen);
    this.#stopShortcuts = listenForShortcuts({
      m: () => this.#microphone.element.click(),
      v: () => this.#camera.element.click(),
      s: () => this.#screen?.element.click(),
      c: () => void this.#copy(),
      d: () => this.#settings.open(),
      i: () => this.#statistics.toggle(),
      g: () => this.#toggleLayout(),
      pageup: () => this.#stage.turn(-1),
      pagedown: () => this.#stage.turn(1),
    });
    root.dataset.state = "call";
    root.dataset.connection = "connecting";
    root.replaceChildren(
      h(
        "div",
        { class: "call" },
        this.#bar(roomId),
        h("main", { class: "call-main" }, this.#stage.element, this.notices.element, this.#statistics.element),
        this.#controls(listener),
        this.#settings.element,
        this.speakers,
      ),
    );
  }

  /** @param {CallModel} model */
  update({ people, tiles, sharing, mediaFlows }) {
    setData(this.#root, "media", mediaFlows ? "flows" : "none");
    setText(this.#people, "text", "call.people", { count: people });
    const { problems } = this.#media;
    this.#microphone.update(this.#media.isOn("microphone"), problems.microphone !== null);
    this.#camera.update(this.#media.isOn("camera"), problems.camera !== null);
    this.#screen?.update(sharing);
    this.#settings.update();
    this.#stage.update(tiles);
  }

  /** @param {Connection} connection */
  setConnection(connection) {
    setData(this.#root, "connection", connection);
    setText(this.#connection, "text", `connection.${connection}`);
  }

  /**
   * @param {Map<string, number>} levels of those who are audible (dBov), by user_id
   * @param {string | null} dominant user_id of who has the floor
   */
  setSpeaking(levels, dominant) {
    this.#stage.setSpeaking(levels, dominant);
  }

  close() {
    this.#stopShortcuts();
    this.#statistics.close();
    this.#stage.close();
    delete this.#root.dataset.connection;
    delete this.#root.dataset.media;
    this.#root.replaceChildren();
  }

  /** @param {string} roomId */
  #bar(roomId) {
    return h(
      "header",
      { class: "call-bar" },
      h("img", { src: "/static/favicon.svg", alt: "Zvonim", width: "26", height: "26", class: "brand-mark" }),
      h("h1", { class: "call-room" }, roomId),
      this.#layout,
      h("span", { class: "call-people" }, icon("people"), this.#people),
      h("span", { class: "connection" }, h("span", { class: "connection-dot" }), this.#connection),
    );
  }

  /** @param {CallViewListener} listener */
  #controls(listener) {
    const copy = h(
      "button",
      { class: "control", id: "copy-link", type: "button", tip: "control.copy.tip", on: { click: () => void this.#copy() } },
      h("span", { class: "control-face" }, this.#copyIcon),
      this.#copyName,
    );
    const settings = h(
      "button",
      { class: "control", id: "settings", type: "button", tip: "control.settings.tip", on: { click: () => this.#settings.open() } },
      h("span", { class: "control-face" }, icon("settings")),
      h("span", { class: "control-name", t: "control.settings" }),
    );
    const leave = h(
      "button",
      { class: "control control-leave", id: "leave", type: "button", tip: "control.leave.tip", on: { click: listener.onLeave } },
      h("span", { class: "control-face" }, icon("leave")),
      h("span", { class: "control-name", t: "control.leave" }),
    );
    return h(
      "footer",
      { class: "controls", role: "group", label: "controls" },
      this.#microphone.element,
      this.#camera.element,
      this.#screen?.element ?? null,
      copy,
      settings,
      leave,
    );
  }

  #toggleLayout() {
    const layout = this.#stage.layout === "grid" ? "speaker" : "grid";
    savePreferences({ layout });
    this.#stage.setLayout(layout);
    this.#showLayout();
  }

  #showLayout() {
    const { layout } = this.#stage;
    this.#layout.setAttribute("aria-pressed", String(layout === "speaker"));
    setText(this.#layout, "title", layout === "speaker" ? "call.layout.tip.grid" : "call.layout.tip.speaker");
  }

  async #copy() {
    if (!(await copyLink())) {
      window.prompt(t("control.copy.tip"), callLink());
      return;
    }
    this.notices.toast("control.copied");
    setIcon(this.#copyIcon, "check");
    setTimeout(() => setIcon(this.#copyIcon, "link"), COPIED_MS);
  }
}
