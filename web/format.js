import { t } from "./i18n/index.js";

/** How figures are written in the language of the page. */

/** @param {number} bps */
export function bitrate(bps) {
  return bps >= 1e6 ? t("stats.mbps", { value: (bps / 1e6).toFixed(2) }) : t("stats.kbps", { value: Math.round(bps / 1000) });
}

/** @param {number} part */
export function percent(part) {
  const value = 100 * part;
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** @param {number} ms */
export function duration(ms) {
  return t("stats.ms", { value: ms < 10 ? ms.toFixed(1) : Math.round(ms) });
}
