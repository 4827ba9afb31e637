import { setText } from "../i18n/index.js";
import { loadPreferences, savePreferences } from "../settings.js";
import { deviceChoice } from "./device-choice.js";
import { h } from "./dom.js";
import { languageChoice, themeChoice } from "./header.js";
import { icon } from "./icons.js";
import { microphoneMeter } from "./meter.js";

/**
 * @import { LocalMedia } from "../media.js"
 * @import { Key } from "../i18n/index.js"
 */

const CODECS = /** @type {const} */ (["vp8", "vp9", "av1"]);
const HEIGHTS = /** @type {const} */ ([720, 360, 180]);

/** @type {[string, Key][]} */
const SHORTCUTS = [
  ["M", "control.microphone"],
  ["V", "control.camera"],
  ["S", "control.screen"],
  ["C", "control.copy"],
  ["D", "control.settings"],
  ["I", "stats.title"],
  ["G", "call.layout.speaker"],
  ["PgUp PgDn", "call.pages"],
];

/**
 * @typedef {object} SettingsListener
 * @property {(deviceId: string) => void} onSpeaker
 * @property {(codec: string | null) => void} onCodec of the camera's picture
 * @property {() => void} onStatistics show the panel of numbers, or hide it
 */

/**
 * Devices, sound, picture, language, appearance and the list of shortcuts, during a call.
 * @param {LocalMedia} media
 * @param {SettingsListener} listener
 * @returns {{ element: HTMLDialogElement, open: () => void, update: () => void }}
 */
export function settingsDialog(media, { onSpeaker, onCodec, onStatistics }) {
  const devices = deviceChoice(media, loadPreferences().speakerId, onSpeaker);
  const close = h("button", { class: "icon-button", type: "button", label: "settings.close" }, icon("close"));
  const statistics = h("button", { class: "button button-small settings-more", id: "show-statistics", type: "button", t: "stats.show" });
  const element = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "settings-title" },
    h(
      "div",
      { class: "dialog-box" },
      h("header", { class: "dialog-header" }, h("h2", { id: "settings-title", t: "settings.title" }), close),
      section("settings.devices", devices.element, originalSound(media), quality(media), codec(onCodec), screen()),
      section("settings.appearance", row("settings.language", languageChoice()), row("settings.theme", themeChoice())),
      section("settings.shortcuts", shortcuts()),
      section("stats.title", statistics),
    ),
  );
  close.onclick = () => element.close();
  statistics.onclick = () => {
    element.close();
    onStatistics();
  };
  // A click on the backdrop lands on the dialog itself, one on its content does not.
  element.addEventListener("click", (event) => {
    if (event.target === element) element.close();
  });

  /** @type {ReturnType<typeof microphoneMeter> | null} */
  let meter = null;
  element.onclose = () => {
    meter?.stop();
    meter?.element.remove();
    meter = null;
  };
  return {
    element,
    open() {
      if (element.open) return;
      meter = microphoneMeter(media); // runs only while somebody looks at it
      devices.addMeter(meter.element);
      devices.update();
      void media.refreshDevices();
      element.showModal();
    },
    update: () => element.open && devices.update(),
  };
}

/**
 * @param {Key} title
 * @param {...HTMLElement} content
 */
const section = (title, ...content) => h("section", { class: "settings-section" }, h("h3", { t: title }), ...content);

/**
 * @param {Key} name
 * @param {HTMLElement} control
 */
const row = (name, control) => h("div", { class: "settings-row" }, h("span", { t: name }), control);

/** @param {LocalMedia} media */
function originalSound(media) {
  const box = h("input", { type: "checkbox", id: "original-sound", checked: media.options.originalSound });
  box.onchange = () => {
    savePreferences({ originalSound: box.checked });
    media.options.originalSound = box.checked;
    void media.reopen("microphone");
  };
  return h(
    "label",
    { class: "settings-row settings-check", for: "original-sound" },
    h("span", {}, h("span", { t: "settings.original" }), h("small", { t: "settings.original.text" })),
    box,
  );
}

/** @param {LocalMedia} media */
function quality(media) {
  const select = h("select", { class: "select", label: "settings.quality" });
  for (const height of HEIGHTS) {
    const option = h("option", { value: height, selected: height === media.options.cameraHeight });
    setText(option, "text", `settings.quality.${height}`);
    select.append(option);
  }
  select.onchange = () => {
    media.options.cameraHeight = Number(select.value);
    savePreferences({ cameraHeight: media.options.cameraHeight });
    void media.reopen("camera");
  };
  return row("settings.quality", select);
}

/** @param {(codec: string | null) => void} onCodec */
function codec(onCodec) {
  const types = RTCRtpSender.getCapabilities("video")?.codecs.map(({ mimeType }) => mimeType.toLowerCase()) ?? [];
  const known = CODECS.filter((name) => types.includes(`video/${name}`));
  const chosen = loadPreferences().codec;
  const select = h("select", { class: "select", id: "codec", label: "settings.codec" });
  for (const name of known) {
    const option = h("option", { value: name, selected: name === chosen });
    setText(option, "text", `settings.codec.${name}`);
    select.append(option);
  }
  select.onchange = () => {
    savePreferences({ codec: select.value });
    onCodec(select.value);
  };
  return row("settings.codec", select);
}

/** What is shared from now on; what is shared already stays as it is. */
function screen() {
  const select = h("select", { class: "select", id: "screen-content", label: "settings.screen" });
  const { screenMotion } = loadPreferences();
  for (const content of /** @type {const} */ (["detail", "motion"])) {
    const option = h("option", { value: content, selected: (content === "motion") === screenMotion });
    setText(option, "text", `settings.screen.${content}`);
    select.append(option);
  }
  select.onchange = () => savePreferences({ screenMotion: select.value === "motion" });
  return row("settings.screen", select);
}

function shortcuts() {
  const items = SHORTCUTS.map(([letter, name]) => h("li", {}, h("kbd", {}, letter), h("span", { t: name })));
  return h("ul", { class: "shortcuts" }, ...items);
}
