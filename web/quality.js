import { bitrate, duration } from "./format.js";
import { t } from "./i18n/index.js";

/**
 * @import { SlotQuality } from "./protocol.js"
 */

/**
 * Why a picture is as it is, in words.
 * @param {SlotQuality} quality
 * @param {string} name of who publishes it
 * @returns {string}
 */
export function reasonOf({ reason, detail, paused }, name) {
  const { width = 0, height = 0, available_bps = 0, needed_bps = 0, waiting_ms = 0 } = detail ?? {};
  switch (reason) {
    case "tile":
      return t("quality.tile", { width, height });
    case "link": {
      const holds = t("quality.link", { available: bitrate(available_bps), needed: bitrate(needed_bps) });
      return paused ? `${t("quality.paused")} · ${holds}` : holds;
    }
    case "keyframe":
      return t("quality.keyframe", { waiting: duration(waiting_ms) });
    default:
      return t(`quality.${reason}`, { name });
  }
}

/**
 * @param {SlotQuality} quality
 * @param {string} name
 * @returns {string} "640×360 · the link holds 640 kbit/s of 1.20 Mbit/s"
 */
export function describeQuality(quality, name) {
  const { width, height } = quality;
  return [width && height ? `${width}×${height}` : "", reasonOf(quality, name)].filter(Boolean).join(" · ");
}
