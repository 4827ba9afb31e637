import { en } from "./en.js";
import { ru } from "./ru.js";

/** @typedef {keyof typeof en} Key */
/** @typedef {Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }} Plural */
/** @typedef {{ [K in Key]: (typeof en)[K] extends string ? string : Plural }} Texts */
/** @typedef {Record<string, string | number>} Values */
/** @typedef {"en" | "ru"} Language */

/** @type {Record<Language, { name: string, texts: Texts }>} */
const LANGUAGES = {
  en: { name: "English", texts: en },
  ru: { name: "Русский", texts: ru },
};

/** @type {Language} */
let current = "en";
let plurals = new Intl.PluralRules(current);

/** @returns {[Language, string][]} code and own name */
export const languages = () =>
  /** @type {[Language, string][]} */ (Object.entries(LANGUAGES).map(([code, { name }]) => [code, name]));

export const language = () => current;

/** @returns {Language} the first of the browser's languages that we speak */
function preferred() {
  const spoken = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  const known = spoken.find((code) => Object.hasOwn(LANGUAGES, code));
  return /** @type {Language | undefined} */ (known) ?? "en";
}

/**
 * Speak that language from now on; what is shown already is said anew.
 * @param {Language | ""} code "" follows the browser
 */
export function setLanguage(code) {
  current = code || preferred();
  plurals = new Intl.PluralRules(current);
  document.documentElement.lang = current;
  document.title = t("app.title");
  for (const element of document.querySelectorAll("[data-t]")) say(element);
}

/**
 * @param {Key} key
 * @param {Values} [values] for the placeholders; `count` chooses the plural form
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = LANGUAGES[current].texts[key];
  const form = typeof text === "string" ? text : text[plurals.select(Number(values.count ?? 0))] ?? text.other;
  return form.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** Where a text of an element goes. @typedef {"text" | "label" | "title" | "placeholder"} Place */
/** @type {WeakMap<Element, Partial<Record<Place, { key: Key, values: Values | undefined }>>>} */
const said = new WeakMap();

/**
 * Give an element a text that follows the language.
 * @param {Element} element
 * @param {Place} place
 * @param {Key} key
 * @param {Values} [values]
 */
export function setText(element, place, key, values) {
  const texts = said.get(element) ?? {};
  texts[place] = { key, values };
  said.set(element, texts);
  element.setAttribute("data-t", "");
  say(element);
}

/** @param {Element} element */
function say(element) {
  for (const [place, { key, values }] of Object.entries(said.get(element) ?? {})) {
    const text = t(key, values);
    if (place === "text") {
      if (element.textContent !== text) element.textContent = text;
    } else element.setAttribute(place === "label" ? "aria-label" : place, text);
  }
}
