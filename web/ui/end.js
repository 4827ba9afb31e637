import { setText } from "../i18n/index.js";
import { h } from "./dom.js";
import { pageHeader } from "./header.js";
import { icon } from "./icons.js";

/**
 * @import { Key } from "../i18n/index.js"
 * @import { IconName } from "./icons.js"
 * @import { EndReason } from "../signaling.js"
 */

/** @typedef {EndReason | "unsupported"} Ending */

/** @type {Record<Ending, { state: "ended" | "error", glyph: IconName, title: Key, text: Key, again: Key | null }>} */
const ENDINGS = {
  left: { state: "ended", glyph: "leave", title: "end.left", text: "end.left.text", again: "end.rejoin" },
  replaced: {
    state: "ended",
    glyph: "tabs",
    title: "end.replaced",
    text: "end.replaced.text",
    again: "end.replaced.action",
  },
  "room-full": error("people", "end.room-full", "end.room-full.text"),
  "server-full": error("people", "end.server-full", "end.server-full.text"),
  invalid: error("warning", "end.invalid", "end.invalid.text"),
  refused: error("warning", "end.refused", "end.refused.text"),
  unsupported: { ...error("warning", "end.unsupported", "end.unsupported.text"), again: null },
};

/**
 * The page after the call, or in its place.
 * @param {HTMLElement} root
 * @param {Ending} ending
 * @param {string} detail in the server's words
 * @param {() => void} onAgain
 */
export function showEnd(root, ending, detail, onAgain) {
  const { state, glyph, title, text, again } = ENDINGS[ending];
  root.dataset.state = state;
  root.dataset.ending = ending;
  const heading = h("h1", { t: title, tabindex: "-1" });
  const explanation = h("p", { class: "lead" });
  setText(explanation, "text", text, { detail });
  const button = again && h("button", { class: "button button-primary", type: "button", id: "again", t: again });
  if (button) button.onclick = onAgain;
  root.replaceChildren(
    h(
      "div",
      { class: "page" },
      pageHeader(),
      h(
        "main",
        { class: "end" },
        h("div", { class: "end-glyph" }, icon(glyph)),
        heading,
        explanation,
        h("div", { class: "end-actions" }, button, h("a", { class: "button", href: "/", t: "end.home" })),
      ),
    ),
  );
  heading.focus();
}

/**
 * @param {IconName} glyph
 * @param {Key} title
 * @param {Key} text
 */
function error(glyph, title, text) {
  return { state: /** @type {const} */ ("error"), glyph, title, text, again: /** @type {Key} */ ("end.retry") };
}
