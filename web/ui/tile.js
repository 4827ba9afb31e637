import { setText, t } from "../i18n/index.js";
import { loudness } from "../level.js";
import { h, setData } from "./dom.js";
import { icon, setIcon } from "./icons.js";
import { QualitySign } from "./quality-sign.js";

/**
 * @import { SlotQuality } from "../protocol.js"
 */

/**
 * One picture of one participant: its camera (the tile exists without one, too) or a screen.
 * @typedef {object} TileModel
 * @property {string} key
 * @property {string} userId
 * @property {string | null} trackId null while there is no camera
 * @property {string} name
 * @property {boolean} isLocal
 * @property {"camera" | "screen"} source
 * @property {boolean} isMain the participant's first camera: shows the microphone's state
 * @property {boolean} muted
 * @property {boolean} cameraOn
 * @property {boolean} online
 * @property {boolean} unsupported this browser has no codec for the picture
 * @property {SlotQuality | null} quality what the server says of it
 * @property {HTMLVideoElement | null} video
 */

/** pinned: the person wants it large · large: a screen · speaker: has the floor, or had it last @typedef {"pinned" | "large" | "speaker" | "small"} Place */

const AVATAR_COLOURS = 8;
/** Beyond these factors between the ratios of picture and tile, cropping loses too much: bars it is. */
const CROP_SIDES = 2.4; // a wide picture in a narrow tile: the face stands in the middle
const CROP_ENDS = 1.6; // a tall picture in a wide tile: here it is the face that would go

/**
 * DOM contract: `[data-participant][data-source][data-muted][data-camera][data-speaking][data-dominant][data-place]
 * [data-paused]`, the name in `.tile-name`, the button that pins it `.tile-pin`.
 */
export class Tile {
  /** @type {TileModel} */
  model;
  /** @type {Place} */
  #place = "small";
  /** It has the floor: its ring says so, and its label. */
  #dominant = false;
  #avatar = h("span", { class: "avatar", "aria-hidden": "true" });
  #name = h("span", { class: "tile-name" });
  #what = h("span", { class: "tile-what" });
  #problem = h("p", { class: "tile-problem", t: "call.unsupported", hidden: true });
  #level = h("span", { class: "tile-level", "aria-hidden": "true" }, h("span", {}), h("span", {}), h("span", {}));
  #paused = h("p", { class: "tile-paused", t: "quality.paused", hidden: true });
  #quality = new QualitySign();
  #pinIcon = icon("pin");
  #pin;

  /**
   * @param {TileModel} model
   * @param {() => void} onPin give it the large place, or take it away
   */
  constructor(model, onPin) {
    this.model = model;
    this.#pin = h("button", { class: "tile-pin", type: "button", on: { click: onPin } }, this.#pinIcon);
    const bar = h(
      "div",
      { class: "tile-bar" },
      h("span", { class: "tile-muted" }, icon("microphone-off"), h("span", { class: "visually-hidden", t: "call.muted" })),
      this.#level,
      this.#name,
      this.#what,
    );
    const { element: quality } = this.#quality;
    this.element = h("div", { class: "tile", role: "group" }, this.#avatar, this.#problem, this.#paused, bar, quality, this.#pin);
    this.element.ondblclick = onPin;
    this.update(model, "small");
  }

  /**
   * @param {TileModel} model
   * @param {Place} place
   */
  update(model, place) {
    this.#place = place;
    const { element } = this;
    const quality = model.cameraOn && !model.unsupported ? model.quality : null;
    const paused = quality !== null && quality.paused && quality.reason === "link";
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
    setData(element, "place", place);
    setData(element, "paused", String(paused));
    this.#paused.hidden = !paused;
    this.#quality.update(quality, model.name);
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
    const action = this.#place === "large" ? "call.shrink" : this.#place === "pinned" ? "call.unpin" : "call.pin";
    setText(this.#pin, "label", action, { name: model.name });
    setText(this.#pin, "title", action, { name: model.name });
    setIcon(this.#pinIcon, this.#place === "large" ? "shrink" : this.#place === "pinned" ? "unpin" : "pin");
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
