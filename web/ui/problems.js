/**
 * @import { Key } from "../i18n/index.js"
 * @import { LocalMedia } from "../media.js"
 */

/** @typedef {{ input: "both" | "camera" | "microphone", title: Key, text: Key }} ShownProblem */

/**
 * What to say about the devices that do not work; one sentence for both where the reason is the same.
 * @param {LocalMedia} media
 * @returns {ShownProblem[]}
 */
export function shownProblems(media) {
  const { camera, microphone } = media.problems;
  if (camera && camera === microphone) {
    return [{ input: "both", title: `problem.both.${camera}`, text: `problem.${camera}.text` }];
  }
  /** @type {ShownProblem[]} */
  const problems = [];
  if (camera) problems.push({ input: "camera", title: `problem.camera.${camera}`, text: `problem.${camera}.text` });
  if (microphone) {
    problems.push({ input: "microphone", title: `problem.microphone.${microphone}`, text: `problem.${microphone}.text` });
  }
  return problems;
}
