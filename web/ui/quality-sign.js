import { t } from "../i18n/index.js";
import { describeQuality } from "../quality.js";
import { h, setData } from "./dom.js";

/**
 * @import { SlotQuality } from "../protocol.js"
 */

/** Of what a picture needs the link holds less than this: it shows. */
const THIN = 0.5;

/**
 * @param {SlotQuality} quality
 * @returns {number} bars: 3 is all that one could wish for, 0 is nothing
 */
function barsOf({ reason, detail, paused }) {
  if (paused) return 0;
  if (reason === "keyframe") return 2;
  if (reason !== "link") return 3;
  const { available_bps = 0, needed_bps = 1 } = detail ?? {};
  return available_bps < THIN * needed_bps ? 1 : 2;
}

/**
 * Bars in the corner of a tile; what they mean is shown under the pointer, with the focus, and after a tap.
 * DOM contract: `.tile-quality[data-reason][data-bars]`, in it `.tile-quality-text`.
 */
export class QualitySign {
  #text = h("span", { class: "tile-quality-text", role: "tooltip" });

  constructor() {
    const bars = h("span", { class: "tile-quality-bars", "aria-hidden": "true" }, h("span", {}), h("span", {}), h("span", {}));
    this.element = h("button", { class: "tile-quality", type: "button", "aria-expanded": "false", hidden: true }, bars, this.#text);
    this.element.onclick = () => this.#open(this.element.getAttribute("aria-expanded") === "false");
    this.element.onblur = () => this.#open(false);
    this.element.onkeydown = ({ key }) => {
      if (key === "Escape") this.#open(false);
    };
    // The tile takes it for a wish to see the picture large.
    this.element.ondblclick = (event) => event.stopPropagation();
  }

  /**
   * @param {SlotQuality | null} quality null: nothing is known, or nothing is to be seen
   * @param {string} name
   */
  update(quality, name) {
    this.element.hidden = quality === null;
    if (!quality) return;
    setData(this.element, "reason", quality.reason);
    setData(this.element, "bars", String(barsOf(quality)));
    const text = describeQuality(quality, name);
    if (this.#text.textContent === text) return;
    this.#text.textContent = text;
    this.element.setAttribute("aria-label", t("quality.label", { text }));
  }

  /** @param {boolean} open */
  #open(open) {
    this.element.setAttribute("aria-expanded", String(open));
  }
}
