/**
 * How a picture is encoded: pure arithmetic, so that it can be tried without a connection. A camera is sent in up to three
 * sizes at once (simulcast, or the spatial layers of one scalable stream), of which the server passes on to each receiver the
 * one that its tile and its link call for; sizes that nobody takes are not encoded.
 */

/** The sizes of a camera's simulcast, the smallest first. @type {readonly string[]} */
export const CAMERA_RIDS = ["q", "h", "f"];
/** A screen is text: in half its size for thumbnails and thin links, and as it is. @type {readonly string[]} */
export const SCREEN_RIDS = ["h", "f"];

/** Enough for the text of 1080p at some frames a second. */
const SCREEN_BITRATE = 2_500_000;
/** Half the size is for links that do not hold the whole: a page of text still has to come through within a second. */
const SMALL_SCREEN = { maxBitrate: 400_000, maxFramerate: 5 };
/** Who moves the pointer wants to see it move; what stands still costs nothing at any rate. */
const SCREEN_FRAME_RATE = 15;
const MOTION_FRAME_RATE = 30;

/** What a picture of so many lines may cost (bit/s); Chromium takes no more for those of several. @type {readonly { lines: number, maxBitrate: number }[]} */
const BITRATES = [
  { lines: 90, maxBitrate: 80_000 },
  { lines: 180, maxBitrate: 150_000 },
  { lines: 270, maxBitrate: 350_000 },
  { lines: 360, maxBitrate: 500_000 },
  { lines: 540, maxBitrate: 1_000_000 },
  { lines: Infinity, maxBitrate: 1_500_000 },
];

/**
 * Pictures of at least so many pixels are worth three sizes, or two. Chromium sends no more than these, and counts from the
 * smallest: it would leave out the full size of a small picture.
 */
const THREE_SIZES_FROM = 960 * 540;
const TWO_SIZES_FROM = 480 * 270;

/**
 * Firefox sends 1280x720 with 1.2 Mbit/s at least, however thin the link is, and then retransmits what the link dropped on
 * top of it; a little below that size it goes down to 200 kbit/s.
 */
const MAX_LINES = navigator.userAgent.includes("Gecko/") ? 704 : Infinity;

/**
 * What somebody takes of a track: sizes by rid, and the highest spatial layer of a scalable stream, -1 for none.
 * @typedef {{ rids: string[], spatial: number }} Wanted
 */
/** simulcast: several streams · scalable: one with spatial layers · single: one stream of one size @typedef {"simulcast" | "scalable" | "single"} Kind */
/** @typedef {{ width: number, height: number }} Size */

/**
 * What is set of an encoding; what is undefined is left as the browser has it.
 * @typedef {{ active: boolean, scaleResolutionDownBy: number, maxBitrate: number, maxFramerate?: number, scalabilityMode?: string }} Plan
 */

/**
 * @param {number} lines
 * @returns {number} bit/s
 */
function bitrateOf(lines) {
  return BITRATES.find((step) => lines <= step.lines)?.maxBitrate ?? 0;
}

/**
 * @param {Size} size
 * @returns {number} how many sizes a picture is worth
 */
function sizesOf({ width, height }) {
  const pixels = width * height;
  return pixels >= THREE_SIZES_FROM ? 3 : pixels >= TWO_SIZES_FROM ? 2 : 1;
}

/**
 * @param {Kind} kind
 * @param {Size} captured
 * @param {number} lines no more than these are to be sent
 * @param {Wanted | null} wanted null: nobody has said, so all that there is
 * @returns {Plan[]} one for each encoding
 */
export function cameraPlans(kind, captured, lines, wanted) {
  const shrink = Math.max(1, captured.height / Math.min(lines, MAX_LINES));
  const height = captured.height / shrink;
  const sizes = sizesOf({ width: captured.width / shrink, height });
  const anybody = wanted === null || wanted.rids.length > 0 || wanted.spatial >= 0;
  if (kind === "single") return [{ active: anybody, scaleResolutionDownBy: shrink, maxBitrate: bitrateOf(height) }];
  if (kind === "scalable") {
    const top = Math.max(0, Math.min(wanted?.spatial ?? sizes - 1, sizes - 1));
    const below = 2 ** (sizes - 1 - top);
    return [
      {
        active: anybody,
        scaleResolutionDownBy: shrink * below,
        maxBitrate: bitrateOf(height / below),
        scalabilityMode: top > 0 ? `L${top + 1}T3_KEY` : "L1T3",
      },
    ];
  }
  return CAMERA_RIDS.map((rid, index) => {
    const below = 2 ** Math.max(0, sizes - 1 - index);
    return {
      active: index < sizes && (wanted === null || wanted.rids.includes(rid)),
      scaleResolutionDownBy: shrink * below,
      maxBitrate: bitrateOf(height / below),
    };
  });
}

/**
 * @param {Kind} kind
 * @param {boolean} motion it shows a film rather than text
 * @param {Wanted | null} wanted
 * @returns {Plan[]}
 */
export function screenPlans(kind, motion, wanted) {
  const anybody = wanted === null || wanted.rids.length > 0 || wanted.spatial >= 0;
  const whole = { scaleResolutionDownBy: 1, maxBitrate: SCREEN_BITRATE, maxFramerate: motion ? MOTION_FRAME_RATE : SCREEN_FRAME_RATE };
  if (kind !== "simulcast") return [{ active: anybody, ...whole }];
  const half = { scaleResolutionDownBy: 2, ...SMALL_SCREEN, ...(motion && { maxFramerate: SCREEN_FRAME_RATE }) };
  return [half, whole].map((plan, index) => ({
    active: wanted === null || wanted.rids.includes(SCREEN_RIDS[index] ?? ""),
    ...plan,
  }));
}
