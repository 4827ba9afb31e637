import { roomInfo } from "../api.js";
import { canCapture } from "../devices.js";
import { setText } from "../i18n/index.js";
import { NEW_ROOM_HASH } from "../room-code.js";
import { savePreferences } from "../settings.js";
import { deviceChoice } from "./device-choice.js";
import { h } from "./dom.js";
import { pageHeader } from "./header.js";
import { icon } from "./icons.js";
import { microphoneMeter } from "./meter.js";
import { shownProblems } from "./problems.js";
import { inputToggle } from "./toggles.js";

/**
 * @import { LocalMedia } from "../media.js"
 * @import { ShownProblem } from "./problems.js"
 */

/** How many of those present are named. */
const NAMES_SHOWN = 4;

/**
 * @typedef {object} PrejoinOptions
 * @property {string} roomId
 * @property {string} name
 * @property {string} speakerId
 * @property {LocalMedia} media not yet started
 * @property {(name: string) => void} onJoin
 */

/** The page before the call: name, picture, devices. */
export class Prejoin {
  #options;
  #stage;
  #video = h("video", { class: "preview-video mirrored", muted: true, autoplay: true, playsinline: true, label: "prejoin.preview" });
  #cover = h("div", { class: "preview-cover" });
  #extra = h("div", { class: "prejoin-extra" });
  #presence = h("p", { class: "prejoin-presence" });
  #join = h("button", { class: "button button-primary button-large", type: "submit", id: "join" });
  #name;
  #nameProblem = h("p", { class: "field-problem", id: "name-problem", role: "alert" });
  #devices;
  #meter;
  #shownState = "";
  #microphone;
  #camera;

  /**
   * @param {HTMLElement} root
   * @param {PrejoinOptions} options
   */
  constructor(root, options) {
    this.#options = options;
    const { media, roomId } = options;
    root.dataset.state = "prejoin";
    this.#name = h("input", {
      id: "name",
      class: "input",
      type: "text",
      value: options.name,
      maxlength: "64",
      autocomplete: "name",
      enterkeyhint: "go",
      required: true,
      "aria-describedby": "name-problem",
    });
    this.#microphone = inputToggle("microphone", media);
    this.#camera = inputToggle("camera", media);
    this.#devices = deviceChoice(media, options.speakerId, () => undefined);
    this.#meter = microphoneMeter(media);
    this.#devices.addMeter(this.#meter.element);
    this.#video.muted = true;
    this.#stage = h(
      "div",
      { class: "preview" },
      this.#video,
      this.#cover,
      h("div", { class: "preview-controls" }, this.#microphone.element, this.#camera.element),
    );
    root.replaceChildren(
      h(
        "div",
        { class: "page" },
        pageHeader(),
        h(
          "main",
          { class: "prejoin" },
          h("div", { class: "prejoin-media" }, this.#stage, this.#extra, this.#devices.element),
          this.#form(roomId),
        ),
      ),
    );
    media.listener = {
      onTrack: () => this.update(),
      onChange: () => this.update(),
      onNewDevice: () => undefined,
      onReplaced: () => undefined,
    };
    window.addEventListener("languagechosen", this.#onLanguage);
    this.update();
    void media.start();
    void media.refreshDevices();
    void this.#look();
    if (!options.name) this.#name.focus();
    else this.#join.focus();
  }

  close() {
    this.#meter.stop();
    this.#video.srcObject = null;
    window.removeEventListener("languagechosen", this.#onLanguage);
  }

  update() {
    const { media } = this.#options;
    const track = media.isOn("camera") ? media.tracks.camera : null;
    if (track !== currentTrack(this.#video)) this.#video.srcObject = track ? new MediaStream([track]) : null;
    this.#stage.classList.toggle("preview-on", track !== null);
    this.#microphone.update(media.isOn("microphone"), media.problems.microphone !== null);
    this.#camera.update(media.isOn("camera"), media.problems.camera !== null);
    this.#devices.update();
    this.#showProblems();
    const silent = media.problems.microphone !== null && media.problems.camera !== null;
    setText(this.#join, "text", silent || !canCapture() ? "prejoin.watch" : "prejoin.join");
  }

  #onLanguage = () => {
    this.update();
    void this.#look();
  };

  /** @param {string} roomId */
  #form(roomId) {
    const title = h("p", { class: "prejoin-room" });
    setText(title, "text", "prejoin.room", { room: roomId });
    const form = h(
      "form",
      { class: "prejoin-form", novalidate: true },
      h("div", {}, h("h1", { t: "prejoin.title" }), title, this.#presence),
      h("div", { class: "field" }, h("label", { for: "name", t: "prejoin.name" }), this.#name, this.#nameProblem),
      this.#join,
    );
    form.onsubmit = (event) => {
      event.preventDefault();
      const name = this.#name.value.trim();
      this.#name.toggleAttribute("aria-invalid", name === "");
      if (name === "") {
        setText(this.#nameProblem, "text", "prejoin.name.missing");
        this.#name.focus();
        return;
      }
      const { options: chosen, problems } = this.#options.media;
      savePreferences({
        name,
        // What a fault switched off was not the person's choice.
        ...(!problems.microphone && { microphoneOn: chosen.microphoneOn }),
        ...(!problems.camera && { cameraOn: chosen.cameraOn }),
      });
      this.#options.onJoin(name);
    };
    return form;
  }

  #showProblems() {
    const { media } = this.#options;
    const problems = shownProblems(media);
    const covering = problems.find(({ input }) => input !== "microphone");
    const other = problems.find(({ input }) => input === "microphone");
    // Made anew only when it says something else: a button in it may have the focus.
    const state = JSON.stringify([media.asking, problems]);
    if (state === this.#shownState) return;
    this.#shownState = state;
    if (media.asking) {
      const asking = h("div", { class: "preview-asking" }, h("h2", { t: "prejoin.asking" }), h("p", { t: "prejoin.asking.text" }));
      this.#cover.replaceChildren(asking);
    } else if (covering) this.#cover.replaceChildren(...this.#explain(covering));
    else this.#cover.replaceChildren(h("h2", { t: "prejoin.off" }));
    this.#extra.replaceChildren(...(other ? this.#explain(other) : []));
    this.#extra.hidden = other === undefined;
  }

  /** @param {ShownProblem} problem */
  #explain({ input, title, text }) {
    const again = h("button", { class: "button", type: "button", t: "prejoin.again" });
    again.onclick = async () => {
      const { media } = this.#options;
      if (input !== "camera") media.options.microphoneOn = true;
      if (input !== "microphone") media.options.cameraOn = true;
      await media.start();
    };
    return [icon("warning"), h("h2", { t: title }), h("p", { t: text }), ...(canCapture() ? [again] : [])];
  }

  /** Say who is there already. */
  async #look() {
    if (location.hash === NEW_ROOM_HASH) {
      history.replaceState(null, "", location.pathname + location.search);
      setText(this.#presence, "text", "prejoin.nobody");
      return;
    }
    const info = await roomInfo(this.#options.roomId).catch(() => null);
    const names = info?.users.map(({ user_name }) => user_name) ?? [];
    if (names.length === 0) {
      setText(this.#presence, "text", "prejoin.nobody");
      return;
    }
    const shown = names.slice(0, NAMES_SHOWN).join(", ") + (names.length > NAMES_SHOWN ? " …" : "");
    setText(this.#presence, "text", "prejoin.present", { count: names.length, names: shown });
  }
}

/** @param {HTMLVideoElement} video */
function currentTrack(video) {
  return video.srcObject instanceof MediaStream ? video.srcObject.getVideoTracks()[0] ?? null : null;
}
