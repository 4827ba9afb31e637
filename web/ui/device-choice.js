import { t } from "../i18n/index.js";
import { savePreferences } from "../settings.js";
import { canChooseSpeaker } from "../devices.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @import { DeviceLists } from "../devices.js"
 * @import { LocalMedia } from "../media.js"
 * @import { Key } from "../i18n/index.js"
 * @import { IconName } from "./icons.js"
 */

/** @typedef {"microphoneId" | "cameraId" | "speakerId"} Choice */

/** @type {{ choice: Choice, list: keyof DeviceLists, name: Key, glyph: IconName }[]} */
const CHOICES = [
  { choice: "microphoneId", list: "microphones", name: "settings.microphone", glyph: "microphone" },
  { choice: "cameraId", list: "cameras", name: "settings.camera", glyph: "camera" },
  { choice: "speakerId", list: "speakers", name: "settings.speaker", glyph: "sound" },
];

/**
 * Choice of camera, microphone and, where the browser can, loudspeaker. What is chosen is used at once and remembered.
 * @param {LocalMedia} media
 * @param {string} speakerId chosen so far
 * @param {(deviceId: string) => void} onSpeaker
 * @returns {{ element: HTMLElement, update: () => void, addMeter: (meter: HTMLElement) => void }}
 */
export function deviceChoice(media, speakerId, onSpeaker) {
  const shown = CHOICES.filter(({ choice }) => choice !== "speakerId" || canChooseSpeaker());
  const selects = shown.map(({ choice, list, name, glyph }) => {
    const select = h("select", { class: "select", label: name, data: { choice } });
    select.onchange = () => {
      savePreferences({ [choice]: select.value });
      if (choice === "speakerId") {
        speakerId = select.value;
        onSpeaker(select.value);
      } else {
        media.options[choice] = select.value;
        void media.reopen(choice === "microphoneId" ? "microphone" : "camera");
      }
    };
    return { select, choice, list, glyph };
  });

  return {
    element: h(
      "div",
      { class: "devices" },
      ...selects.map(({ select, glyph }) => h("div", { class: "device" }, icon(glyph), select)),
    ),
    addMeter(meter) {
      selects.find(({ choice }) => choice === "microphoneId")?.select.after(meter);
    },
    update() {
      for (const { select, choice, list } of selects) {
        const used = choice === "speakerId" ? speakerId : usedDevice(media, choice);
        const input = choice === "microphoneId" ? "microphone" : "camera";
        const blocked = choice !== "speakerId" && ["denied", "insecure"].includes(media.problems[input] ?? "");
        fill(select, media.devices[list], used, blocked ? "settings.blocked" : "settings.none");
      }
    },
  };
}

/**
 * The device that is open, which need not be the one that was asked for.
 * @param {LocalMedia} media
 * @param {"microphoneId" | "cameraId"} choice
 */
function usedDevice(media, choice) {
  const track = choice === "microphoneId" ? media.tracks.microphone : media.tracks.camera;
  return track?.getSettings().deviceId ?? media.options[choice];
}

/**
 * @param {HTMLSelectElement} select
 * @param {MediaDeviceInfo[]} devices
 * @param {string} chosen
 * @param {Key} none what to say when there is none to choose
 */
function fill(select, devices, chosen, none) {
  const options = devices.map(({ deviceId, label }, index) => ({
    value: deviceId,
    text: label || t("settings.nameless", { count: index + 1 }),
  }));
  if (!devices.some(({ deviceId }) => deviceId === "default") && select.dataset.choice === "speakerId") {
    options.unshift({ value: "", text: t("settings.default") });
  }
  if (options.length === 0) options.push({ value: "", text: t(none) });
  select.disabled = devices.length === 0;
  const same =
    options.length === select.options.length &&
    options.every(({ value, text }, i) => select.options[i]?.value === value && select.options[i]?.text === text);
  if (!same) select.replaceChildren(...options.map(({ value, text }) => h("option", { value }, text)));
  select.value = options.some(({ value }) => value === chosen) ? chosen : options[0]?.value ?? "";
}
