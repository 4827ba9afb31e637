import { HIDDEN } from "../view.js";
import { h, setData } from "./dom.js";
import { fitGrid, GAP_PX, planFocus, planGrid } from "./grid.js";
import { firstOthers, TileOrder, tilesOfPage } from "./order.js";
import { Pager, turnBySwipe } from "./pager.js";
import { Tile } from "./tile.js";

/**
 * @import { Sight, Size } from "../view.js"
 * @import { Plan } from "./grid.js"
 * @import { TileModel } from "./tile.js"
 */

/** Tiles that can be pinned at a time; one more takes the place of the first. */
const MOST_PINS = 4;
/** Who is heard for so long speaks; less is a cough. */
const SPEAKS_MS = 800;
/** Levels come several times a second: after so long without one, a sentence is over. */
const SILENT_MS = 1_500;

/** all alike · one large @typedef {"grid" | "speaker"} Layout */

/**
 * Where the tiles are: all alike in pages of a grid, or some large and the others in a strip. Pinned tiles are large, and so is
 * a screen that somebody begins to share, until it is sent back; in the speaker's view, who has the floor.
 */
export class Stage {
  element;
  #invitation;
  #onSight;
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {TileModel[]} in the order of arrival */
  #models = [];
  #main = h("div", { class: "stage-main" });
  #strip = h("div", { class: "stage-strip" });
  #pager = new Pager((step) => this.turn(step));
  #order = new TileOrder();
  /** @type {Layout} */
  #layout;
  #page = 0;
  /** How many tiles of others are on the first page. */
  #first = Infinity;
  /** @type {string[]} */
  #pins = [];
  /** @type {string | null} what has the large place in the speaker's view */
  #speaker = null;
  /** @type {Set<string>} */
  #screens = new Set();
  /** Screens that were sent back to the others. @type {Set<string>} */
  #returned = new Set();
  /** Since when those are heard who are, and when last. @type {Map<string, { since: number, last: number }>} */
  #heard = new Map();
  /** @type {string[]} what is large, then what else is on the page */
  #shown = [];
  /** @type {Size} the size of one more tile, in pixels of the page */
  #next = HIDDEN;
  /** The window of a picture that floats above others. @type {{ video: EventTarget, size: PictureInPictureWindow } | null} */
  #floating = null;
  #observer = new ResizeObserver(() => this.#look());

  /**
   * @param {HTMLElement} invitation takes a tile's place while nobody else is here
   * @param {Layout} layout
   * @param {(sight: Sight) => void} onSight something else is before the person's eyes, or has another size
   */
  constructor(invitation, layout, onSight) {
    this.#invitation = invitation;
    this.#layout = layout;
    this.#onSight = onSight;
    this.element = h("section", { class: "stage", label: "call.stage" }, this.#main, this.#strip, this.#pager.element);
    new ResizeObserver(() => this.#show()).observe(this.element);
    document.addEventListener("visibilitychange", this.#look);
    turnBySwipe(this.element, (step) => this.turn(step));
    // They bubble from the videos.
    this.element.addEventListener("enterpictureinpicture", (event) => this.#float(/** @type {PictureInPictureEvent} */ (event)));
    this.element.addEventListener("leavepictureinpicture", () => this.#float(null));
  }

  close() {
    document.removeEventListener("visibilitychange", this.#look);
    this.#observer.disconnect();
  }

  /** @param {TileModel[]} models in the order of arrival */
  update(models) {
    this.#models = models;
    const keys = new Set(models.map(({ key }) => key));
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      this.#observer.unobserve(tile.element);
      tile.element.remove();
      this.#tiles.delete(key);
    }
    this.#order.update(models.filter(({ isLocal }) => !isLocal).map(({ key }) => key));
    this.#pins = this.#pins.filter((key) => keys.has(key));
    if (this.#speaker !== null && !keys.has(this.#speaker)) this.#speaker = null;
    const screens = models.filter(({ source, isLocal }) => source === "screen" && !isLocal).map(({ key }) => key);
    this.#screens = new Set(screens);
    this.#returned = new Set(screens.filter((key) => this.#returned.has(key)));
    this.#show();
  }

  get layout() {
    return this.#layout;
  }

  /** @param {Layout} layout */
  setLayout(layout) {
    this.#layout = layout;
    this.#page = 0;
    // Asked for: what had the large place has it no longer.
    this.#pins = [];
    if (layout === "grid") this.#returned = new Set(this.#screens);
    else this.#returned.clear();
    this.#show();
  }

  /** @param {-1 | 1} step */
  turn(step) {
    this.#page = Math.max(0, this.#page + step);
    this.#show();
  }

  /**
   * @param {Map<string, number>} levels of those who are audible (dBov), by user_id
   * @param {string | null} dominant user_id of who has the floor
   */
  setSpeaking(levels, dominant) {
    let moved = false;
    const now = performance.now();
    for (const { model } of this.#tiles.values()) {
      const { key, userId, isMain, isLocal } = model;
      if (!isMain) continue;
      this.#tiles.get(key)?.setSpeaking(levels.get(userId) ?? null, userId === dominant);
      if (isLocal) continue;
      if (levels.has(userId)) moved = this.#hear(key, now, userId === dominant) || moved;
      if (userId === dominant) moved = this.#giveFloor(key) || moved;
    }
    if (moved) this.#show();
  }

  /**
   * @param {string} key
   * @param {number} now
   * @param {boolean} dominant
   * @returns {boolean} whether a tile has to move
   */
  #hear(key, now, dominant) {
    const before = this.#heard.get(key);
    const since = before && now - before.last < SILENT_MS ? before.since : now;
    this.#heard.set(key, { since, last: now });
    this.#order.hear(key, now);
    if (!dominant && now - since < SPEAKS_MS) return false;
    const isFixed = (/** @type {string} */ one) => this.#screens.has(one) || this.#isLarge(one);
    return !this.#isLarge(key) && this.#order.promote(key, this.#first, isFixed, now, dominant);
  }

  /**
   * @param {string} key
   * @returns {boolean} whether something is to be shown anew
   */
  #giveFloor(key) {
    if (this.#speaker === key) return false;
    // Who had it takes the other's place in the strip: the rest stays where it is.
    if (this.#speaker !== null && this.#isSpeakerShown) this.#order.swap(this.#speaker, key);
    this.#speaker = key;
    return this.#layout === "speaker";
  }

  get #isSpeakerShown() {
    return this.#layout === "speaker" && this.#pins.length === 0 && this.#screenShown === null;
  }

  /** @returns {string | null} the screen that has the large place: who began last */
  get #screenShown() {
    return [...this.#screens].filter((key) => !this.#returned.has(key)).at(-1) ?? null;
  }

  /** @returns {string[]} */
  get #large() {
    const screen = this.#screenShown;
    if (this.#pins.length > 0) return screen === null || this.#pins.includes(screen) ? this.#pins : [screen, ...this.#pins];
    if (screen !== null) return [screen];
    if (this.#layout === "grid") return [];
    const speaker = this.#speaker ?? this.#models.find(({ isLocal, cameraOn }) => !isLocal && cameraOn)?.key ?? this.#order.keys[0];
    return speaker === undefined ? [] : [speaker];
  }

  /** @param {string} key */
  #isLarge(key) {
    return this.#large.includes(key);
  }

  /**
   * Pin a tile, let it go, or send a screen back to the others.
   * @param {string} key
   */
  #pin(key) {
    if (this.#pins.includes(key)) {
      this.#pins = this.#pins.filter((one) => one !== key);
      if (this.#screens.has(key)) this.#returned.add(key);
    } else if (key === this.#screenShown) this.#returned.add(key);
    else this.#pins = [...this.#pins, key].slice(-MOST_PINS);
    this.#show();
  }

  /** Bring the page to what is to be shown now. */
  #show() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const large = this.#large;
    const own = this.#models.filter(({ isLocal, key }) => isLocal && !large.includes(key)).map(({ key }) => key);
    const others = this.#order.keys.filter((key) => !large.includes(key));
    const alone = this.#models.length === 1;
    const count = others.length + own.length;
    const space = { width, height };
    const plan = large.length > 0 ? planFocus(space, large.length, count) : planGrid(space, alone ? 2 : count);
    this.#page = Math.min(this.#page, plan.pages - 1);
    this.#first = large.length + firstOthers(own.length, plan.perPage);
    const small = tilesOfPage(others, own, plan.perPage, this.#page);
    this.#shown = [...large, ...small];
    for (const model of this.#models) this.#tile(model, large);
    place(this.#main, large.length > 0 ? this.#elements(large) : [...this.#elements(small), ...(alone ? [this.#invitation] : [])]);
    place(this.#strip, large.length > 0 ? this.#elements(small) : []);
    this.#pager.update(this.#page, plan.pages);
    this.#fit(plan, large.length > 0);
    this.#next = plan.pages > 1 || large.length > 0 ? plan.small : fitGrid(space, this.#models.length + 1).tile;
    this.#look();
  }

  /**
   * @param {TileModel} model
   * @param {string[]} large
   */
  #tile(model, large) {
    const { key } = model;
    const state = this.#pins.includes(key) ? "pinned" : large.includes(key) ? "large" : "small";
    let tile = this.#tiles.get(key);
    if (!tile) {
      this.#tiles.set(key, (tile = new Tile(model, () => this.#pin(key))));
      this.#observer.observe(tile.element);
    }
    tile.update(model, state === "large" && !this.#screens.has(key) ? "speaker" : state);
  }

  /** @param {string[]} keys */
  #elements(keys) {
    return keys.map((key) => this.#tiles.get(key)?.element).filter((element) => element !== undefined);
  }

  /**
   * @param {Plan} plan
   * @param {boolean} focused
   */
  #fit({ grid, side, large, small, columns }, focused) {
    const { style } = this.element;
    setData(this.element, "layout", focused ? "focus" : "grid");
    setData(this.element, "strip", side);
    style.setProperty("--tile-width", `${grid.tile.width}px`);
    style.setProperty("--tile-height", `${grid.tile.height}px`);
    // The last row is short, the others are not longer than planned.
    const used = grid.columns * (grid.tile.width + GAP_PX) - GAP_PX;
    style.setProperty("--inset", `${Math.max(0, Math.floor((large.width - used) / 2))}px`);
    style.setProperty("--main-height", `${large.height}px`);
    style.setProperty("--small-width", `${small.width}px`);
    style.setProperty("--small-height", `${small.height}px`);
    style.setProperty("--small-columns", String(columns));
    for (const tile of this.#tiles.values()) tile.fit();
  }

  /** @param {PictureInPictureEvent | null} event */
  #float(event) {
    this.#floating = event && event.target ? { video: event.target, size: event.pictureInPictureWindow } : null;
    if (this.#floating) this.#floating.size.onresize = this.#look;
    this.#look();
  }

  /** Say what is before the person's eyes. */
  #look = () => {
    const hidden = document.visibilityState === "hidden";
    const scale = window.devicePixelRatio;
    /** @param {Tile} tile @returns {Size} */
    const sizeOf = ({ element, model }) => {
      if (this.#floating && model.video === this.#floating.video) return scaled(this.#floating.size, scale);
      return hidden ? HIDDEN : scaled({ width: element.clientWidth, height: element.clientHeight }, scale);
    };
    const tiles = this.#shown.map((key) => this.#tiles.get(key)).filter((tile) => tile !== undefined);
    this.#onSight({
      pictures: tiles.flatMap((tile) => {
        const { key, userId, trackId, isLocal, cameraOn } = tile.model;
        if (isLocal || trackId === null || !cameraOn) return [];
        return [{ userId, trackId, size: sizeOf(tile), pinned: this.#pins.includes(key) }];
      }),
      next: hidden ? HIDDEN : scaled(this.#next, scale),
    });
  };
}

/**
 * @param {Size} size
 * @param {number} scale
 * @returns {Size}
 */
const scaled = ({ width, height }, scale) => ({ width: width * scale, height: height * scale });

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
