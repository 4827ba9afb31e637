/** When to try again: exponential with jitter, so that a restarted server is not met by everybody at once. */

const FIRST_DELAY_MS = 500;
/** What somebody asked to be spared gets this much more, in parts of it: those who were asked together come apart. */
const SPREAD = 0.5;

/**
 * @param {number} attempt 0 for the first
 * @param {number} longestMs
 * @param {number} random 0 to 1
 * @returns {number} milliseconds, between half of the step and all of it
 */
export function retryDelayMs(attempt, longestMs, random) {
  const step = Math.min(longestMs, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return step * (0.5 + random / 2);
}

/** One thing that is tried again and again; at most one attempt is scheduled. */
export class Retry {
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {(() => void) | null} */
  #action = null;
  #longestMs;

  /** @param {number} longestMs the pauses grow up to this */
  constructor(longestMs) {
    this.#longestMs = longestMs;
  }

  /** How often it was tried since it last worked. */
  get attempts() {
    return this.#attempt;
  }

  /**
   * @param {() => void} action
   * @param {number} [atLeastMs] never sooner than this
   * @returns {number} when it will run, in the time of performance.now()
   */
  schedule(action, atLeastMs = 0) {
    this.cancel();
    const delay = Math.max(
      atLeastMs * (1 + SPREAD * Math.random()),
      retryDelayMs(this.#attempt++, this.#longestMs, Math.random()),
    );
    this.#action = action;
    this.#timer = setTimeout(() => this.now(), delay);
    return performance.now() + delay;
  }

  /** Do not wait any longer for what is scheduled. */
  now() {
    const action = this.#action;
    this.cancel();
    action?.();
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#action = null;
  }

  /** It worked: the next failure starts with the short delay again. */
  reset() {
    this.#attempt = 0;
  }
}
