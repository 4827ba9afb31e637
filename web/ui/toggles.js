import { setText } from "../i18n/index.js";
import { canShareScreen } from "../devices.js";
import { h } from "./dom.js";
import { icon, setIcon } from "./icons.js";

/**
 * @import { Key } from "../i18n/index.js"
 * @import { Input } from "../devices.js"
 * @import { LocalMedia } from "../media.js"
 * @import { IconName } from "./icons.js"
 */

/**
 * @typedef {object} Toggle
 * @property {HTMLButtonElement} element
 * @property {(on: boolean, problem?: boolean) => void} update
 */

/**
 * @typedef {object} Look
 * @property {string} id
 * @property {Key} name
 * @property {Key} turnOn tooltip while it is off
 * @property {Key} turnOff tooltip while it is on
 * @property {IconName} on
 * @property {IconName} off
 */

/** @type {Record<Input, Look>} */
const LOOKS = {
  microphone: {
    id: "toggle-microphone",
    name: "control.microphone",
    turnOn: "control.microphone.on",
    turnOff: "control.microphone.off",
    on: "microphone",
    off: "microphone-off",
  },
  camera: {
    id: "toggle-camera",
    name: "control.camera",
    turnOn: "control.camera.on",
    turnOff: "control.camera.off",
    on: "camera",
    off: "camera-off",
  },
};

/** @type {Look} */
const SCREEN_LOOK = {
  id: "share-screen",
  name: "control.screen",
  turnOn: "control.screen.on",
  turnOff: "control.screen.off",
  on: "screen",
  off: "screen",
};

/**
 * Microphone or camera on and off: the button keeps its name, `aria-pressed` tells the state.
 * @param {Input} input
 * @param {LocalMedia} media
 * @param {() => void} [onFailed] it was to be turned on and could not
 * @returns {Toggle}
 */
export function inputToggle(input, media, onFailed) {
  return toggle(LOOKS[input], async () => {
    await media.set(input, !media.isOn(input));
    if (media.problems[input]) onFailed?.();
  });
}

/**
 * @param {() => void} onClick
 * @returns {Toggle | null} null where the browser cannot share a screen (phones)
 */
export function screenToggle(onClick) {
  return canShareScreen() ? toggle(SCREEN_LOOK, onClick) : null;
}

/**
 * @param {Look} look
 * @param {() => void} onClick
 * @returns {Toggle}
 */
function toggle(look, onClick) {
  const glyph = icon(look.off);
  const element = h(
    "button",
    { class: "control", id: look.id, type: "button", "aria-pressed": "false", tip: look.turnOn, on: { click: onClick } },
    h("span", { class: "control-face" }, glyph),
    h("span", { class: "control-name", t: look.name }),
  );
  return {
    element,
    update(on, problem = false) {
      element.setAttribute("aria-pressed", String(on));
      element.classList.toggle("control-problem", problem);
      setText(element, "title", on ? look.turnOff : look.turnOn);
      setIcon(glyph, on ? look.on : look.off);
    },
  };
}
