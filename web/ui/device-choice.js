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
        const devices = known(media.devices[list]);
        if (choice === "speakerId") {
          // Chromium lists the system's choice itself, as "default".
          const hasDefault = devices.length === 0 || devices.some(({ value }) => value === "default");
          if (!hasDefault) devices.unshift({ value: "", text: t("settings.default") });
          fill(select, devices, speakerId, t("settings.default"));
        } else {
          const input = choice === "microphoneId" ? "microphone" : "camera";
          const used = media.tracks[input];
          const blocked = ["denied", "insecure"].includes(media.problems[input] ?? "");
          // A device can be open without being listed: Firefox keeps the list to itself for a while.
          const none = used?.label || t(blocked ? "settings.blocked" : "settings.none");
          fill(select, devices, used?.getSettings().deviceId ?? media.options[choice], none);
        }
      }
    },
  };
}

/** @param {MediaDeviceInfo[]} devices */
const known = (devices) =>
  devices.map(({ deviceId, label }, i) => ({ value: deviceId, text: label || t("settings.nameless", { count: i + 1 }) }));

/**
 * @param {HTMLSelectElement} select
 * @param {{ value: string, text: string }[]} devices
 * @param {string} chosen
 * @param {string} none what to say when there is none to choose
 */
function fill(select, devices, chosen, none) {
  const options = devices.length > 0 ? devices : [{ value: "", text: none }];
  select.disabled = devices.length === 0;
  const same =
    options.length === select.options.length &&
    options.every(({ value, text }, i) => select.options[i]?.value === value && select.options[i]?.text === text);
  // Made anew only when it changes: it may be open.
  if (!same) select.replaceChildren(...options.map(({ value, text }) => h("option", { value }, text)));
  select.value = options.some(({ value }) => value === chosen) ? chosen : options[0]?.value ?? "";
}
