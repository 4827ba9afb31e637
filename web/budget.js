/**
 * What a camera's picture may be where it is sent in one size only: tiles shrink as the call grows, and everybody receives the
 * same.
 */

/** @type {readonly { upTo: number, lines: number }[]} */
const STEPS = [
  { upTo: 4, lines: 720 },
  { upTo: 9, lines: 360 },
  { upTo: Infinity, lines: 180 },
];

/**
 * @param {number} participants oneself included
 * @returns {number} lines
 */
export const roomLines = (participants) => STEPS.find(({ upTo }) => participants <= upTo)?.lines ?? 180;
