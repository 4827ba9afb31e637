import { bitrate, duration, percent } from "../format.js";
import { setText, t } from "../i18n/index.js";
import { h, setData } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @import { CallValues, DownTrackValues, TransportValues, UpTrackValues, Values } from "../stats.js"
 * @import { Key } from "../i18n/index.js"
 */

const EVERY_MS = 1_000;

/** @typedef {Values & TransportValues} Shown */

/** How each value is written, in the order in which they stand. @type {[keyof Shown, (value: any) => string][]} */
const SHOWN = [
  ["protocol", String],
  ["round_trip_ms", duration],
  ["available_bitrate", bitrate],
  ["resolution", String],
  ["layers", (value) => value || t("stats.layers.none")],
  ["reason", String],
  ["fps", (value) => value.toFixed(0)],
  ["codec", String],
  ["bitrate", bitrate],
  ["target_bitrate", bitrate],
  ["limited_by", (value) => t(/** @type {Key} */ (`stats.limited_by.${value}`))],
  ["loss", percent],
  ["lost", String],
  ["packets", String],
  ["octets", (value) => t("stats.kb", { value: Math.round(value / 1000) })],
  ["jitter_ms", duration],
  ["freezes", String],
  ["frozen_ms", duration],
  ["concealed", percent],
  ["nacks", String],
  ["repaired", String],
  ["keyframe_requests", String],
];

/** A value from which on it is worth a colour. @type {Partial<Record<keyof Shown, number>>} */
const BAD_FROM = { loss: 0.05, jitter_ms: 60, round_trip_ms: 400, concealed: 0.05 };

/**
 * The numbers of the call, beside the pictures: measured once a second, and only while somebody looks at them.
 * DOM contract: `[data-stats-transport]` and `[data-stats-track="USER_ID/SOURCE"]`, in these `[data-stat=NAME]` with the
 * names of web/stats.js; the pointer over a value shows its name.
 */
export class StatsPanel {
  #read;
  #transport = h("dl", { class: "stats-values" });
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
      h("section", { class: "stats-track", data: { statsTransport: "" } }, h("h3", { t: "stats.transport" }), this.#transport),
      this.#list,
      h("button", { class: "button button-small", type: "button", on: { click: () => void this.#copy() } }, this.#copied),
    );
    this.element.onkeydown = ({ key }) => {
      if (key === "Escape") this.close();
    };
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
    fill(this.#transport, call.transport);
    const tracks = [...call.up_tracks, ...call.down_tracks];
    const keys = tracks.map((track) => `${track.user_id}/${track.source}`);
    for (const [key, { element }] of this.#cards) {
      if (keys.includes(key)) continue;
      element.remove();
      this.#cards.delete(key);
    }
    tracks.forEach((track, index) => {
      const key = keys[index] ?? "";
      let card = this.#cards.get(key);
      if (!card) this.#cards.set(key, (card = newCard(key, track, index < call.up_tracks.length)));
      fill(card.values, track);
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
 * @param {UpTrackValues | DownTrackValues} track
 * @param {boolean} own
 */
function newCard(key, { user_name, source }, own) {
  const values = h("dl", { class: "stats-values" });
  const what = h("span", { class: "stats-source", t: /** @type {Key} */ (`stats.source.${source}`) });
  const who = own ? h("span", { t: "stats.own" }) : h("span", {}, user_name);
  const element = h("section", { class: "stats-track", data: { statsTrack: key } }, h("h3", {}, who, what), values);
  return { element, values };
}

/**
 * @param {HTMLElement} list
 * @param {Shown} values
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
