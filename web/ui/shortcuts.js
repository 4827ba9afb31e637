/**
 * Single letters as shortcuts. By the letter that a Latin layout types, and by the place of the key on any other: a Russian
 * keyboard has its own letters there.
 * @param {Record<string, () => void>} actions by lower-case letter
 * @returns {() => void} stop listening
 */
export function listenForShortcuts(actions) {
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("input, select, textarea, dialog[open], [contenteditable]")) return;
    const letter = /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : event.code.replace(/^Key/, "").toLowerCase();
    const action = Object.hasOwn(actions, letter) ? actions[letter] : undefined;
    if (!action) return;
    event.preventDefault();
    action();
  };
  window.addEventListener("keydown", onKey);
  return () => window.removeEventListener("keydown", onKey);
}
