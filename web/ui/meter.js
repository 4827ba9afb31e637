import { LevelMeter } from "../level.js";
import { h } from "./dom.js";

/**
 * @import { LocalMedia } from "../media.js"
 */

/**
 * A bar that moves with one's own voice.
 * @param {LocalMedia} media
 * @returns {{ element: HTMLElement, stop: () => void }}
 */
export function microphoneMeter(media) {
  const element = h("div", { class: "meter", role: "img", label: "settings.level" }, h("div", { class: "meter-fill" }));
  const level = new LevelMeter();
  let shown = 0;
  let frame = requestAnimationFrame(function draw() {
    level.attach(media.isOn("microphone") ? media.tracks.microphone : null);
    // Up at once, down slowly: as a needle that can be read.
    shown = Math.max(level.read(), shown * 0.9);
    element.style.setProperty("--level", shown.toFixed(3));
    frame = requestAnimationFrame(draw);
  });
  return {
    element,
    stop() {
      cancelAnimationFrame(frame);
      level.close();
    },
  };
}
