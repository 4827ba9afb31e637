import { setText, t } from "../i18n/index.js";
import { loudness } from "../level.js";
import { h, setData } from "./dom.js";
import { icon, setIcon } from "./icons.js";

/**
 * One picture of one participant: its camera (the tile exists without one, too) or a screen.
 * @typedef {object} TileModel
 * @property {string} key
 * @property {string} userId
 * @property {string} name
 * @property {boolean} isLocal
 * @property {"camera" | "screen"} source
 * @property {boolean} isMain the participant's first camera: shows the microphone's state
 * @property {boolean} muted
 * @property {boolean} cameraOn
 * @property {boolean} online
 * @property {boolean} unsupported this browser has no codec for the picture
 * @property {HTMLVideoElement | null} video
 */

const AVATAR_COLOURS = 8;
/** Beyond these factors between the ratios of picture and tile, cropping loses too much: bars it is. */
const CROP_SIDES = 2.4; // a wide picture in a narrow tile: the face stands in the middle
const CROP_ENDS = 1.6; // a tall picture in a wide tile: here it is the face that would go

/**
 * DOM contract: `[data-participant][data-source][data-muted][data-camera][data-speaking][data-dominant]`, the name in
 * `.tile-name`.
 */
export class Tile {
  /** @type {TileModel} */
  model;
  /** It has the large place. */
  #enlarged = false;
  /** It has the floor: its ring says so, and its label. */
  #dominant = false;
  #avatar = h("span", { class: "avatar", "aria-hidden": "true" });
  #name = h("span", { class: "tile-name" });
  #what = h("span", { class: "tile-what" });
  #problem = h("p", { class: "tile-problem", t: "call.unsupported", hidden: true });
  #level = h("span", { class: "tile-level", "aria-hidden": "true" }, h("span", {}), h("span", {}), h("span", {}));
  #enlargeIcon = icon("enlarge");
  #enlarge;

  /**
   * @param {TileModel} model
   * @param {(key: string) => void} onEnlarge give it the large place, or take it away
   */
  constructor(model, onEnlarge) {
    this.model = model;
    this.#enlarge = h(
      "button",
      { class: "tile-enlarge", type: "button", on: { click: () => onEnlarge(this.model.key) } },
      this.#enlargeIcon,
    );
    const bar = h(
      "div",
      { class: "tile-bar" },
      h("span", { class: "tile-muted" }, icon("microphone-off"), h("span", { class: "visually-hidden", t: "call.muted" })),
      this.#level,
      this.#name,
      this.#what,
    );
    this.element = h("div", { class: "tile", role: "group" }, this.#avatar, this.#problem, bar, this.#enlarge);
    this.element.ondblclick = () => onEnlarge(this.model.key);
    this.update(model, false);
  }

  /**
   * @param {TileModel} model
   * @param {boolean} enlarged
   */
  update(model, enlarged) {
    this.#enlarged = enlarged;
    const { element } = this;
    const previous = this.element.querySelector("video");
    this.model = model;
    setData(element, "participant", model.userId);
    setData(element, "source", model.source);
    setData(element, "muted", String(model.muted));
    setData(element, "camera", model.cameraOn ? "on" : "off");
    setData(element, "online", String(model.online));
    setData(element, "problem", model.unsupported ? "codec" : "none");
    this.#problem.hidden = !model.unsupported;
    element.classList.toggle("tile-local", model.isLocal);
    element.classList.toggle("tile-enlarged", enlarged);
    element.classList.toggle("tile-side", !model.isMain);
    if (this.#name.textContent !== model.name) this.#name.textContent = model.name;
    this.#label();
    setData(this.#avatar, "initials", initials(model.name));
    setData(this.#avatar, "colour", String(colourOf(model.userId)));
    if (previous !== model.video) {
      previous?.remove();
      if (model.video) this.#adopt(model.video);
      else setData(element, "video", "none");
    }
    this.fit();
  }

  /** Choose between cropping and bars, after the size of the tile or the picture changed. */
  fit() {
    const { video } = this.model;
    if (!video?.videoWidth || !this.element.clientHeight) return;
    const picture = video.videoWidth / video.videoHeight;
    const tile = this.element.clientWidth / this.element.clientHeight;
    const tooMuch = picture / tile > CROP_SIDES || tile / picture > CROP_ENDS;
    setData(this.element, "fit", this.model.source === "screen" || tooMuch ? "contain" : "cover");
  }

  /**
   * @param {number | null} level how loud it is (dBov); null while it is silent
   * @param {boolean} dominant it has the floor
   */
  setSpeaking(level, dominant) {
    const audible = level !== null && !this.model.muted;
    setData(this.element, "speaking", String(audible));
    setData(this.element, "dominant", String(dominant));
    this.#level.style.setProperty("--level", audible ? loudness(level).toFixed(2) : "0");
    if (dominant === this.#dominant) return;
    this.#dominant = dominant;
    this.#label();
  }

  /** @param {HTMLVideoElement} video */
  #adopt(video) {
    video.classList.toggle("mirrored", this.model.isLocal && this.model.source === "camera");
    video.onloadeddata = video.onplaying = () => {
      setData(this.element, "video", "playing");
      this.fit();
    };
    video.onemptied = () => setData(this.element, "video", "none");
    video.onresize = () => this.fit();
    this.element.prepend(video);
    setData(this.element, "video", video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA ? "playing" : "none");
    if (video.srcObject && video.paused) void video.play().catch(() => undefined); // moving it may have paused it
  }

  #label() {
    const { model } = this;
    const kind = model.source === "screen" ? "call.screen" : model.isMain ? null : "call.camera.other";
    const what = [kind && `· ${t(kind)}`, model.isLocal && t("call.you")].filter(Boolean).join(" ");
    if (this.#what.textContent !== what) this.#what.textContent = what;
    const muted = model.isMain && model.muted;
    const state = muted ? t("call.muted") : this.#dominant && t("call.speaking");
    const label = [model.name, what, state].filter(Boolean).join(", ");
    if (this.element.getAttribute("aria-label") !== label) this.element.setAttribute("aria-label", label);
    const action = this.#enlarged ? "call.shrink" : "call.enlarge";
    setText(this.#enlarge, "label", action, { name: model.name });
    setText(this.#enlarge, "title", action, { name: model.name });
    setIcon(this.#enlargeIcon, this.#enlarged ? "shrink" : "enlarge");
  }
}

/**
 * @param {string} name
 * @returns {string} one or two letters
 */
export function initials(name) {
  const words = name.split(/[\s._-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words;
  return letters.map((word) => firstLetter(word ?? "")).join("").toLocaleUpperCase() || "?";
}

/** @param {string} word */
const firstLetter = (word) => /[\p{L}\p{N}]\p{M}*/u.exec(word)?.[0] ?? "";

/** @param {string} userId */
function colourOf(userId) {
  let hash = 0;
  for (const char of userId) hash = (hash * 31 + (char.codePointAt(0) ?? 0)) >>> 0;
  return hash % AVATAR_COLOURS;
}
