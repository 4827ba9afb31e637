// A classic script in <head>: the chosen theme has to stand before the first paint, modules run after it.
(() => {
  try {
    const { theme } = JSON.parse(localStorage.getItem("zvonim") ?? "{}");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // No storage (private mode, blocked cookies): the system's theme it is.
  }
})();
