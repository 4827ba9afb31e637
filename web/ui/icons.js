/** Line icons on a grid of 24: path data only, so that nothing is loaded and nothing is inline in the page. */
const PATHS = {
  microphone: "M12 3a3 3 0 0 0-3 3v5.5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
  "microphone-off":
    "M15 9.5V6a3 3 0 0 0-5.8-1M9 9v2.5a3 3 0 0 0 4.6 2.5M5.5 11.5a6.5 6.5 0 0 0 10.6 5M18.3 13.2a6.5 6.5 0 0 0 .2-1.7M12 18v3M4 3.5l16 17",
  camera: "M5 6.5h8.5a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2ZM15.5 11l4.7-3.1a.5.5 0 0 1 .8.4v7.4a.5.5 0 0 1-.8.4L15.5 13",
  "camera-off":
    "M9.5 6.5h4a2 2 0 0 1 2 2V12M15.5 13l4.7 3.1a.5.5 0 0 0 .8-.4V8.300a.5.5 0 0 0-.8-.4l-4.2 2.800M14.8 17a2 2 0 0 1-1.3.5H5a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h.6M4 3.500l16 17",
  screen: "M4.5 4.500h15a1.5 1.5 0 0 1 1.5 1.500v9a1.5 1.5 0 0 1-1.5 1.500h-15A1.5 1.5 0 0 1 3 15V6a1.5 1.5 0 0 1 1.5-1.500ZM8.5 20h7M12 13.500v-6M9.3 10 12 7.300l2.7 2.7",
  link: "M10 13.500a4 4 0 0 0 6 .4l2.8-2.800a4 4 0 0 0-5.7-5.700L11.7 6.800M14 10.500a4 4 0 0 0-6-.4l-2.8 2.800a4 4 0 0 0 5.7 5.700l1.4-1.4",
  check: "M5 12.500l4.5 4.500L19 7",
  settings: "M4 7h8.8M17.2 7H20M4 17h2.8M11.2 17H20M15 9.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4ZM9 19.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4Z",
  leave: "M12 8.500c-3.7 0-7 1-8.8 2.800a1.5 1.5 0 0 0-.3 1.700l.9 2a1 1 0 0 0 1.2.5l2.7-.9a1 1 0 0 0 .7-.9l.1-1.900c2.2-.7 4.8-.7 7 0l.1 1.900a1 1 0 0 0 .7.9l2.7.9a1 1 0 0 0 1.2-.5l.9-2a1.5 1.5 0 0 0-.3-1.700C19 9.5 15.7 8.5 12 8.500Z",
  pin: "M9 3.500h6l-.7 6.200 3.200 3.300v2H6.500v-2l3.200-3.300L9 3.500ZM12 15v6",
  unpin: "M9.300 6.200 9 3.500h6l-.7 6.200 3.200 3.300v2h-2M12 15v6M11 15H6.500v-2l2.700-2.800M4 4l16 16",
  shrink: "M10.5 4.500v6H4.500M13.5 19.500v-6h6M10.5 10.5 4 4M13.5 13.5 20 20",
  close: "M6 6l12 12M18 6 6 18",
  people: "M9 11.500a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 19.500a6.5 6.5 0 0 1 13 0M15.5 4.900a3.5 3.5 0 0 1 0 6.200M17.5 14a6.5 6.5 0 0 1 4 5.5",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2.500v2M12 19.500v2M4.6 4.6 6 6M18 18l1.4 1.400M2.5 12h2M19.5 12h2M4.6 19.4 6 18M18 6l1.4-1.4",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500Z",
  auto: "M12 3.500a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17ZM12 3.500v17M12 8h6.500M12 12h8.500M12 16h6.5",
  share: "M12 15.500V3.500M8 7l4-4 4 4M6 11.500H5a1 1 0 0 0-1 1v7a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-7a1 1 0 0 0-1-1h-1",
  tabs: "M9.5 8h9a1.5 1.5 0 0 1 1.5 1.5v7a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 8 16.5v-7A1.5 1.5 0 0 1 9.5 8ZM5.5 14.5A1.5 1.5 0 0 1 4 13V6a1.5 1.5 0 0 1 1.5-1.5h9A1.5 1.5 0 0 1 16 6",
  warning: "M12 4 2.8 19.500h18.400L12 4ZM12 10v4.500M12 17v.2",
  sound: "M4 9.500v5h3.500L12 18.500v-13L7.5 9.500H4ZM15.5 9a4 4 0 0 1 0 6M18 6.500a7.5 7.5 0 0 1 0 11",
  previous: "M14.500 5.500 8 12l6.500 6.500",
  next: "M9.500 5.500 16 12l-6.500 6.500",
  grid: "M5 4.500h5v5.500H4.500V5a.5.5 0 0 1 .5-.5ZM14 4.500h5a.5.5 0 0 1 .5.5v5H14V4.500ZM4.500 14H10v5.500H5a.5.5 0 0 1-.5-.5v-5ZM14 14h5.500v5a.5.5 0 0 1-.5.5h-5V14Z",
  speaker: "M5 4.500h14a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1ZM4 17h4v3H4v-3ZM10 17h4v3h-4v-3ZM16 17h4v3h-4v-3Z",
  plus: "M12 5v14M5 12h14",
};

/** @typedef {keyof typeof PATHS} IconName */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {IconName} name
 * @returns {SVGSVGElement} hidden from assistive technology: the text beside it speaks
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  setIcon(svg, name);
  return svg;
}

/**
 * @param {SVGSVGElement} svg made by icon()
 * @param {IconName} name
 */
export function setIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.dataset.icon = name;
  svg.firstElementChild?.setAttribute("d", PATHS[name]);
}
