import { language, languages, setLanguage } from "../i18n/index.js";
import { loadPreferences, savePreferences } from "../settings.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { applyTheme } from "./theme.js";

/**
 * @import { Key } from "../i18n/index.js"
 * @import { Preferences } from "../settings.js"
 */

/** @returns {HTMLElement} the word mark, a link home */
function brand() {
  return h("a", { class: "brand", href: "/" }, mark(), h("span", {}, "Zvonim"));
}

/** @returns {HTMLElement} */
export function pageHeader() {
  const choices = h("div", { class: "page-header-choices" }, languageChoice(), themeChoice());
  return h("header", { class: "page-header" }, brand(), choices);
}

/** @returns {HTMLElement} a switch between the languages, each under its own name */
export function languageChoice() {
  const options = languages().map(([value, name]) => {
    return { value, face: h("span", { lang: value, title: name }, value.toUpperCase()) };
  });
  return choice("language", "settings.language", language(), options, (code) => {
    savePreferences({ language: code });
    setLanguage(code);
    window.dispatchEvent(new Event("languagechosen"));
  });
}

/** @returns {HTMLElement} */
export function themeChoice() {
  const options = THEMES.map(([value, name, glyph]) => {
    const spoken = h("span", { class: "visually-hidden", t: name });
    return { value, face: h("span", { class: "segment-icon", tip: name }, icon(glyph), spoken) };
  });
  return choice("theme", "settings.theme", loadPreferences().theme, options, (theme) => {
    savePreferences({ theme });
    applyTheme(theme);
  });
}

/**
 * A choice of few, side by side.
 * @template {string} T
 * @param {string} id
 * @param {Key} name
 * @param {T} current
 * @param {{ value: T, face: HTMLElement }[]} options
 * @param {(value: T) => void} onChoice
 * @returns {HTMLElement}
 */
function choice(id, name, current, options, onChoice) {
  const labels = options.map(({ value, face }) => {
    const input = h("input", { type: "radio", name: id, value, checked: value === current });
    input.onchange = () => onChoice(value);
    return h("label", { class: "segment" }, input, face);
  });
  return h("div", { class: "segments", id, role: "radiogroup", label: name }, ...labels);
}

/** @type {[Preferences["theme"], "settings.theme.auto" | "settings.theme.light" | "settings.theme.dark", "auto" | "sun" | "moon"][]} */
const THEMES = [
  ["light", "settings.theme.light", "sun"],
  ["", "settings.theme.auto", "auto"],
  ["dark", "settings.theme.dark", "moon"],
];

/** The mark, as in favicon.svg. */
function mark() {
  return h("img", { src: "/static/favicon.svg", alt: "", width: "32", height: "32", class: "brand-mark" });
}
