/** When to try again: exponential with jitter, so that a restarted server is not met by everybody at once. */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;

/**
 * @param {number} attempt 0 for the first
 * @param {number} random 0 to 1
 * @returns {number} milliseconds, between half of the step and all of it
 */
export function retryDelayMs(attempt, random) {
  const step = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return step * (0.5 + random / 2);
}

/** One thing that is tried again and again; at most one attempt is scheduled. */
export class Retry {
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {(() => void) | null} */
  #action = null;

  /**
   * @param {() => void} action
   * @param {number} [atLeastMs] never sooner than this
   * @returns {number} when it will run, in the time of performance.now()
   */
  schedule(action, atLeastMs = 0) {
    this.cancel();
    const delay = Math.max(atLeastMs, retryDelayMs(this.#attempt++, Math.random()));
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
