import type { Random } from "#api/clock.ts";

export interface BackoffLimits {
  /** Upper bound of the first wait, milliseconds. */
  readonly baseMs: number;
  /** Upper bound of every wait, milliseconds. */
  readonly maxMs: number;
}

/** Of lists and watches: a restarted API server must not meet all its clients in the same second. */
export const REFLECTOR_BACKOFF: BackoffLimits = { baseMs: 800, maxMs: 30_000 };

/** Waits that double up to a bound, each drawn uniformly from [0, bound): full jitter. */
export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #random: Random;
  #failures = 0;

  constructor(limits: BackoffLimits, random: Random) {
    this.#limits = limits;
    this.#random = random;
  }

  /** Failures since the last reset. */
  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds to wait after one more failure. */
  next(): number {
    const { baseMs, maxMs } = this.#limits;
    // 2^30 is beyond every bound in use, and the exponent stays a small integer however long an outage lasts.
    const boundMs = Math.min(maxMs, baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return this.#random() * boundMs;
  }

  reset(): void {
    this.#failures = 0;
  }
}
