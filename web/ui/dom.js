import { setText } from "../i18n/index.js";

/**
 * @import { Key } from "../i18n/index.js"
 */

/**
 * What an element is made with. `t`, `label`, `tip` and `hint` are keys of texts that follow the language: its text, its
 * aria-label, its title and its placeholder. Everything else but `on` and `data` is an attribute.
 * @typedef {object} Own
 * @property {Key} [t]
 * @property {Key} [label]
 * @property {Key} [tip]
 * @property {Key} [hint]
 * @property {Record<string, string>} [data]
 * @property {Record<string, (event: any) => void>} [on]
 */
/** @typedef {Own & { [attribute: string]: unknown }} Properties */
/** @typedef {Node | string | null | false} Child */

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { t, label, tip, hint, data, on, ...attributes } = properties;
  if (t) setText(element, "text", t);
  if (label) setText(element, "label", label);
  if (tip) setText(element, "title", tip);
  if (hint) setText(element, "placeholder", hint);
  Object.assign(element.dataset, data);
  for (const [event, listener] of Object.entries(on ?? {})) element.addEventListener(event, listener);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {string} value
 */
export function setData(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}
