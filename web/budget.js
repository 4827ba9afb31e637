/**
 * What a camera's picture may cost, by the number of people who look at it: tiles shrink as the call grows, and everybody
 * receives everybody.
 * @typedef {object} CameraBudget
 * @property {number} height lines
 * @property {number} maxBitrate bit/s
 */

/**
 * Firefox sends 1280x720 with 1.2 Mbit/s at least, however thin the link is, and then retransmits what the link dropped on
 * top of it; a little below that size it goes down to 200 kbit/s.
 */
const MAX_HEIGHT = navigator.userAgent.includes("Gecko/") ? 704 : Infinity;

/** @type {readonly { upTo: number, budget: CameraBudget }[]} */
const STEPS = [
  { upTo: 4, budget: { height: 720, maxBitrate: 1_500_000 } },
  { upTo: 9, budget: { height: 360, maxBitrate: 600_000 } },
  { upTo: Infinity, budget: { height: 180, maxBitrate: 200_000 } },
];

/**
 * @param {number} participants oneself included
 * @returns {CameraBudget}
 */
export function cameraBudget(participants) {
  const step = STEPS.find(({ upTo }) => participants <= upTo);
  const { height, maxBitrate } = step?.budget ?? { height: 180, maxBitrate: 200_000 };
  return { height: Math.min(height, MAX_HEIGHT), maxBitrate };
}
