import { setText } from "../i18n/index.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/** A finger that moves at least so far, and mostly sideways, turns a page. */
const SWIPE_PX = 60;

/** Turns the pages of a stage that has more tiles than fit. */
export class Pager {
  #text = h("span", { class: "pager-text", id: "page", role: "status" });
  #previous;
  #next;

  /** @param {(step: -1 | 1) => void} onTurn */
  constructor(onTurn) {
    this.#previous = button("page-previous", "call.page.previous", "previous", () => onTurn(-1));
    this.#next = button("page-next", "call.page.next", "next", () => onTurn(1));
    this.element = h("nav", { class: "pager", label: "call.pages", hidden: true }, this.#previous, this.#text, this.#next);
  }

  /**
   * @param {number} page from 0
   * @param {number} pages
   */
  update(page, pages) {
    this.element.hidden = pages <= 1;
    setText(this.#text, "text", "call.page", { page: page + 1, pages });
    // Not `disabled`: the focus would be lost at the last page.
    this.#previous.setAttribute("aria-disabled", String(page === 0));
    this.#next.setAttribute("aria-disabled", String(page >= pages - 1));
  }
}

/**
 * @param {string} id
 * @param {"call.page.previous" | "call.page.next"} label
 * @param {"previous" | "next"} glyph
 * @param {() => void} click
 */
const button = (id, label, glyph, click) =>
  h("button", { class: "pager-button", id, type: "button", label, tip: label, on: { click } }, icon(glyph));

/**
 * @param {HTMLElement} element
 * @param {(step: -1 | 1) => void} onTurn
 */
export function turnBySwipe(element, onTurn) {
  /** @type {Touch | null} */
  let start = null;
  element.addEventListener("touchstart", (event) => (start = event.touches.length === 1 ? (event.touches[0] ?? null) : null), {
    passive: true,
  });
  element.addEventListener("touchend", ({ changedTouches: [end] }) => {
    if (!start || !end) return;
    const [dx, dy] = [end.clientX - start.clientX, end.clientY - start.clientY];
    start = null;
    if (Math.abs(dx) >= SWIPE_PX && Math.abs(dx) > 2 * Math.abs(dy)) onTurn(dx < 0 ? 1 : -1);
  });
}
