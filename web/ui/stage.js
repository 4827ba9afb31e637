import { h, setData } from "./dom.js";
import { fitGrid } from "./grid.js";
import { Tile } from "./tile.js";

/**
 * @import { TileModel } from "./tile.js"
 */

const GAP_PX = 8;
/** The filmstrip stands at the side of a space wider than this, below a narrower one. */
const SIDE_STRIP_RATIO = 1.25;

/**
 * Where the tiles are: all in a grid, or one large and the others in a filmstrip. A screen that somebody begins to share gets
 * the large place by itself; the person may give it to any tile, or ask for the grid.
 */
export class Stage {
  element;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  #main = h("div", { class: "stage-main" });
  #strip = h("div", { class: "stage-strip", tabindex: "-1" });
  /** "" means: a shared screen if there is one; "grid", or the key of a tile, is what the person asked for. */
  #wish = "";
  /** @type {string | null} */
  #focus = null;
  #invitation;
  /** @type {Set<string>} */
  #screens = new Set();

  /** @param {HTMLElement} invitation takes a tile's place while nobody else is here */
  constructor(invitation) {
    this.#invitation = invitation;
    this.element = h("section", { class: "stage", label: "call.stage" }, this.#main, this.#strip);
    new ResizeObserver(() => this.#layout()).observe(this.element);
  }

  /** @param {TileModel[]} models in the order of arrival */
  update(models) {
    const screens = models.filter((model) => model.source === "screen" && !model.isLocal).map(({ key }) => key);
    if (screens.some((key) => !this.#screens.has(key))) this.#wish = ""; // somebody begins: worth a look
    this.#screens = new Set(screens);
    const keys = new Set(models.map(({ key }) => key));
    if (this.#wish !== "grid" && !keys.has(this.#wish)) this.#wish = "";
    this.#focus = this.#wish === "grid" ? null : this.#wish || (screens.at(-1) ?? null);

    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      tile.element.remove();
      this.#tiles.delete(key);
    }
    for (const model of models) {
      const tile = this.#tiles.get(model.key);
      if (tile) tile.update(model, model.key === this.#focus);
      else this.#tiles.set(model.key, new Tile(model, (key) => this.#toggle(key)));
    }
    this.#arrange(models);
    this.#layout();
  }

  /**
   * @param {Map<string, number>} levels of those who are audible (dBov), by user_id
   * @param {string | null} dominant user_id of who has the floor
   */
  setSpeaking(levels, dominant) {
    for (const tile of this.#tiles.values()) {
      const { isMain, userId } = tile.model;
      if (isMain) tile.setSpeaking(levels.get(userId) ?? null, userId === dominant);
    }
  }

  /** @param {string} key */
  #toggle(key) {
    this.#wish = this.#focus === key ? "grid" : key;
    this.update([...this.#tiles.values()].map(({ model }) => model));
  }

  /** @param {TileModel[]} models */
  #arrange(models) {
    const focused = this.#focus !== null;
    setData(this.element, "layout", focused ? "focus" : "grid");
    const alone = !focused && models.length === 1;
    const elements = models.map(({ key }) => this.#tiles.get(key)?.element).filter((e) => e !== undefined);
    const large = elements.filter((_, i) => models[i]?.key === this.#focus);
    const small = elements.filter((_, i) => models[i]?.key !== this.#focus);
    place(this.#main, focused ? large : [...elements, ...(alone ? [this.#invitation] : [])]);
    place(this.#strip, focused ? small : []);
  }

  #layout() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    setData(this.element, "strip", width / height > SIDE_STRIP_RATIO ? "side" : "below");
    if (this.#focus === null) {
      const grid = fitGrid({ width, height, count: this.#main.childElementCount, gap: GAP_PX });
      this.#main.style.setProperty("--tile-width", `${grid.width}px`);
      this.#main.style.setProperty("--tile-height", `${grid.height}px`);
      // The last row is short, the others are not longer than planned.
      const used = grid.columns * grid.width + (grid.columns - 1) * GAP_PX;
      this.#main.style.setProperty("--inset", grid.scrolls ? "0" : `${Math.max(0, Math.floor((width - used) / 2))}px`);
      this.#main.classList.toggle("stage-scrolls", grid.scrolls);
    } else this.#main.classList.remove("stage-scrolls");
    for (const tile of this.#tiles.values()) tile.fit();
  }
}

/**
 * Make these the children, and move only what is not in its place: a video that moves may flicker.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
function place(parent, children) {
  for (const old of [...parent.children]) {
    if (!children.includes(/** @type {HTMLElement} */ (old))) old.remove();
  }
  children.forEach((child, index) => {
    if (parent.children[index] === child) return;
    parent.insertBefore(child, parent.children[index] ?? null);
    const video = child.querySelector("video");
    if (video?.srcObject && video.paused) void video.play().catch(() => undefined);
  });
}
