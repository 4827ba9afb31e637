/**
 * @import { Key } from "../i18n/index.js"
 * @import { LocalMedia } from "../media.js"
 */

/**
 * @typedef {object} ShownProblem
 * @property {"both" | "camera" | "microphone"} input
 * @property {Key} title
 * @property {Key} text
 * @property {Key} restart what the button says that tries again
 */

/**
 * What to say about the devices that do not work; one sentence for both where the reason is the same.
 * @param {LocalMedia} media
 * @returns {ShownProblem[]}
 */
export function shownProblems(media) {
  const { camera, microphone } = media.problems;
  if (camera && camera === microphone) {
    const text = /** @type {const} */ (`problem.${camera}.text`);
    return [{ input: "both", title: `problem.both.${camera}`, text, restart: "notice.restart.both" }];
  }
  /** @type {ShownProblem[]} */
  const problems = [];
  for (const [input, problem] of /** @type {const} */ ([["camera", camera], ["microphone", microphone]])) {
    if (!problem) continue;
    const text = /** @type {const} */ (`problem.${problem}.text`);
    problems.push({ input, title: `problem.${input}.${problem}`, text, restart: `notice.restart.${input}` });
  }
  return problems;
}
