import { setText } from "../i18n/index.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

const COPIED_MS = 2_000;

/** The address to send to others: without the parameters that are one's own. */
export const callLink = () => location.origin + location.pathname;

/**
 * @returns {Promise<boolean>} false where the browser keeps the clipboard to itself (no https)
 */
export async function copyLink() {
  try {
    await navigator.clipboard.writeText(callLink());
    return true;
  } catch {
    return false;
  }
}

/** @returns {HTMLElement} what takes the place of the others while nobody else is here */
export function invitation() {
  const link = h("input", { class: "input invitation-link", type: "text", readonly: true, label: "control.copy.tip" });
  link.value = callLink();
  link.onfocus = () => link.select();
  const name = h("span", { t: "call.copy" });
  const copy = h("button", { class: "button button-primary", type: "button" }, icon("link"), name);
  copy.onclick = async () => {
    if (!(await copyLink())) {
      link.focus(); // selected, to be copied by hand
      return;
    }
    setText(name, "text", "control.copied");
    setTimeout(() => setText(name, "text", "call.copy"), COPIED_MS);
  };
  const share = h("button", { class: "button", type: "button" }, icon("share"), h("span", { t: "call.share" }));
  share.onclick = () => void navigator.share({ url: callLink() }).catch(() => undefined); // a change of mind
  return h(
    "div",
    { class: "invitation" },
    h("h2", { t: "call.alone" }),
    h("p", { t: "call.alone.text" }),
    link,
    h("div", { class: "invitation-actions" }, copy, "share" in navigator ? share : null),
  );
}
