import { setText, t } from "../i18n/index.js";
import { h, setData } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @import { CallValues, TrackValues, Values } from "../stats.js"
 * @import { Key } from "../i18n/index.js"
 */

const EVERY_MS = 1_000;

/** How each value is written, in the order in which they stand. @type {[keyof Values, (value: any) => string][]} */
const SHOWN = [
  ["resolution", String],
  ["fps", (value) => value.toFixed(0)],
  ["codec", String],
  ["bitrate_bps", bitrate],
  ["target_bps", bitrate],
  ["limited_by", (value) => t(/** @type {Key} */ (`stats.limited_by.${value}`))],
  ["loss_percent", percent],
  ["lost", String],
  ["packets", String],
  ["jitter_ms", duration],
  ["round_trip_ms", duration],
  ["freezes", String],
  ["frozen_ms", duration],
  ["concealed_percent", percent],
  ["nacked", String],
  ["repaired", String],
  ["keyframe_requests", String],
];

/** A value from which on it is worth a colour. @type {Partial<Record<keyof Values, number>>} */
const BAD_FROM = { loss_percent: 5, jitter_ms: 60, round_trip_ms: 400, concealed_percent: 5 };

/**
 * The numbers of the call, beside the pictures: measured once a second, and only while somebody looks at them.
 * DOM contract: `[data-stats-track="USER_ID/SOURCE"]`, in it `[data-stat=NAME]` with the names of web/stats.js.
 */
export class StatsPanel {
  #read;
  #path = h("p", { class: "stats-path" });
  #list = h("div", { class: "stats-list" });
  #copied = h("span", { t: "stats.copy" });
  /** @type {Map<string, { element: HTMLElement, values: HTMLElement }>} */
  #cards = new Map();
  /** @type {CallValues | null} */
  #last = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {() => Promise<CallValues>} read */
  constructor(read) {
    this.#read = read;
    const close = { class: "icon-button", type: "button", label: /** @type {Key} */ ("stats.close"), on: { click: () => this.close() } };
    this.element = h(
      "aside",
      { class: "stats", id: "statistics", hidden: true, label: "stats.title", tabindex: "-1" },
      h("header", { class: "stats-header" }, h("h2", { t: "stats.title" }), h("button", close, icon("close"))),
      this.#path,
      this.#list,
      h("button", { class: "button button-small", type: "button", on: { click: () => void this.#copy() } }, this.#copied),
    );
    this.element.onkeydown = (event) => event.key === "Escape" && this.close();
  }

  toggle() {
    if (!this.element.hidden) return this.close();
    this.element.hidden = false;
    this.element.focus();
    this.#timer = setInterval(() => void this.#update(), EVERY_MS);
    void this.#update();
  }

  close() {
    clearInterval(this.#timer);
    this.element.hidden = true;
  }

  async #update() {
    const call = await this.#read();
    if (this.element.hidden) return;
    this.#last = call;
    const { protocol = "–", round_trip_ms, available_bps } = call.path;
    setText(this.#path, "text", "stats.path", {
      protocol,
      roundTrip: round_trip_ms === undefined ? "–" : duration(round_trip_ms),
      available: available_bps === undefined ? "–" : bitrate(available_bps),
    });
    const keys = call.tracks.map((track) => `${track.user_id}/${track.source}`);
    for (const [key, { element }] of this.#cards) {
      if (keys.includes(key)) continue;
      element.remove();
      this.#cards.delete(key);
    }
    call.tracks.forEach((track, index) => {
      const key = keys[index] ?? "";
      let card = this.#cards.get(key);
      if (!card) this.#cards.set(key, (card = newCard(key, track)));
      fill(card.values, track.values);
      if (this.#list.children[index] !== card.element) {
        this.#list.insertBefore(card.element, this.#list.children[index] ?? null);
      }
    });
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(JSON.stringify(this.#last, null, 2));
      setText(this.#copied, "text", "control.copied");
    } catch (error) {
      console.info("clipboard:", error);
    }
    setTimeout(() => setText(this.#copied, "text", "stats.copy"), 2 * EVERY_MS);
  }
}

/**
 * @param {string} key
 * @param {TrackValues} track
 */
function newCard(key, { user_name, source, own }) {
  const values = h("dl", { class: "stats-values" });
  const what = h("span", { class: "stats-source", t: /** @type {Key} */ (`stats.source.${source}`) });
  const who = own ? h("span", { t: "stats.own" }) : h("span", {}, user_name);
  const element = h("section", { class: "stats-track", data: { statsTrack: key } }, h("h3", {}, who, what), values);
  return { element, values };
}

/**
 * @param {HTMLElement} list
 * @param {Values} values
 */
function fill(list, values) {
  for (const [name, write] of SHOWN) {
    const value = values[name];
    const existing = /** @type {HTMLElement | null} */ (list.querySelector(`[data-stat="${name}"]`));
    if (value === undefined || value === null) {
      existing?.parentElement?.remove();
      continue;
    }
    const place = existing ?? h("dd", { data: { stat: name } });
    if (!existing) {
      const pair = h("div", { title: name }, h("dt", { t: /** @type {Key} */ (`stats.${name}`) }), place);
      pair.style.order = String(SHOWN.findIndex(([shown]) => shown === name));
      list.append(pair);
    }
    const text = write(value);
    if (place.textContent !== text) place.textContent = text;
    setData(place, "bad", String(typeof value === "number" && value >= (BAD_FROM[name] ?? Infinity)));
  }
}

/** @param {number} bps */
function bitrate(bps) {
  return bps >= 1e6 ? t("stats.mbps", { value: (bps / 1e6).toFixed(2) }) : t("stats.kbps", { value: Math.round(bps / 1000) });
}

/** @param {number} value */
function percent(value) {
  return `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

/** @param {number} ms */
function duration(ms) {
  return t("stats.ms", { value: ms < 10 ? ms.toFixed(1) : Math.round(ms) });
}
