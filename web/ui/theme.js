/**
 * Light or dark: the system's choice, or the person's.
 * @param {"" | "light" | "dark"} theme "" follows the system
 */
export function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
    const own = meta.getAttribute("media")?.includes("dark") ? "dark" : "light";
    meta.setAttribute("content", COLOURS[theme || own]);
  }
}

/** The page's background, as in styles/base.css, for the browser's own bars. */
const COLOURS = { light: "#f5f4f0", dark: "#111514" };
