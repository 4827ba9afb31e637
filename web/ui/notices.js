import { setText } from "../i18n/index.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @import { Key, Values } from "../i18n/index.js"
 * @import { IconName } from "./icons.js"
 */

/**
 * @typedef {object} Notice
 * @property {IconName} glyph
 * @property {Key} title
 * @property {Key} [text]
 * @property {Values} [values] for both
 * @property {string} [detail] in the server's own words, in place of a text
 * @property {Key} [action]
 * @property {() => void} [onAction]
 * @property {boolean} [closable]
 * @property {boolean} [grave] something does not work
 */

const TOAST_MS = 4_000;

/** What the person should know now: cards that stay until their cause is gone, and toasts that pass. */
export class Notices {
  #cards = h("div", { class: "notices" });
  #toasts = h("div", { class: "toasts" });
  element = h("div", { class: "notice-area" }, this.#cards, this.#toasts);
  /** @type {Map<string, { element: HTMLElement, shown: string }>} */
  #shown = new Map();

  /**
   * @param {string} key one card each
   * @param {Notice | null} notice null: its cause is gone
   */
  set(key, notice) {
    const existing = this.#shown.get(key);
    if (!notice) {
      existing?.element.remove();
      this.#shown.delete(key);
      return;
    }
    const { title, text, values, action, detail } = notice;
    const shown = JSON.stringify([title, text, action, detail]);
    if (existing?.shown === shown) {
      const body = existing.element.querySelector(".notice-text");
      if (body && text) setText(body, "text", text, values);
      return;
    }
    const element = this.#card(key, notice);
    if (existing) existing.element.replaceWith(element);
    else this.#cards.append(element);
    this.#shown.set(key, { element, shown });
    announce(element.querySelector(".notice-title")?.textContent ?? "");
  }

  /**
   * @param {Key} key
   * @param {Values} [values]
   */
  toast(key, values) {
    const element = h("p", { class: "toast" });
    setText(element, "text", key, values);
    this.#toasts.append(element);
    announce(element.textContent ?? "");
    setTimeout(() => element.remove(), TOAST_MS);
  }

  /**
   * @param {string} key
   * @param {Notice} notice
   */
  #card(key, { glyph, title, text, values, detail, action, onAction, closable, grave }) {
    const heading = h("p", { class: "notice-title" });
    setText(heading, "text", title, values);
    const body = h("p", { class: "notice-text" }, detail ?? "");
    if (text) setText(body, "text", text, values);
    return h(
      "div",
      { class: grave ? "notice notice-grave" : "notice", data: { notice: key } },
      icon(glyph),
      h("div", { class: "notice-body" }, heading, text || detail ? body : null),
      action ? h("button", { class: "button button-small", type: "button", t: action, on: { click: () => onAction?.() } }) : null,
      closable
        ? h(
            "button",
            { class: "icon-button", type: "button", label: "notice.close", on: { click: () => this.set(key, null) } },
            icon("close"),
          )
        : null,
    );
  }
}

/** @param {string} text for screen readers */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  if (announcer) announcer.textContent = text;
}
