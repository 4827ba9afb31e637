import { NEW_ROOM_HASH, newRoomCode, roomIdFrom, roomPath } from "../room-code.js";
import { setText } from "../i18n/index.js";
import { h } from "./dom.js";
import { pageHeader } from "./header.js";
import { icon } from "./icons.js";

/**
 * The start page: make a call, or go to one.
 * @param {HTMLElement} root
 */
export function showHome(root) {
  root.dataset.state = "home";
  const problem = h("p", { class: "field-problem", id: "code-problem", role: "alert" });
  const code = h("input", {
    id: "code",
    class: "input",
    type: "text",
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
    enterkeyhint: "go",
    hint: "home.code",
    label: "home.code",
    "aria-describedby": "code-problem",
  });
  const form = h(
    "form",
    { class: "home-code", novalidate: true },
    code,
    h("button", { class: "button", type: "submit", id: "enter-code", t: "home.join" }),
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    const roomId = roomIdFrom(code.value);
    code.toggleAttribute("aria-invalid", roomId === null);
    if (roomId === null) {
      setText(problem, "text", "home.invalid");
      code.focus();
    } else location.assign(roomPath(roomId));
  };
  const create = h(
    "button",
    { class: "button button-primary button-large", type: "button", id: "new-call" },
    icon("plus"),
    h("span", { t: "home.new" }),
  );
  create.onclick = () => location.assign(roomPath(newRoomCode()) + NEW_ROOM_HASH);

  root.replaceChildren(
    h(
      "div",
      { class: "page" },
      pageHeader(),
      h(
        "main",
        { class: "home" },
        h(
          "div",
          { class: "home-text" },
          h("h1", { t: "app.tagline" }),
          h("p", { class: "lead", t: "home.lead" }),
          h("div", { class: "home-actions" }, create, h("span", { class: "home-or", t: "home.or" }), form),
          problem,
        ),
        illustration(),
      ),
    ),
  );
}

/** A call as four quiet tiles; decoration only. */
function illustration() {
  const tiles = ["one", "two", "three", "four"].map((name) =>
    h(
      "div",
      { class: `picture-tile picture-${name}` },
      h("div", { class: "picture-head" }),
      h("div", { class: "picture-body" }),
    ),
  );
  return h("div", { class: "picture", "aria-hidden": "true" }, ...tiles);
}
