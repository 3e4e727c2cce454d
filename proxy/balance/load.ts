/**
 * What the proxy knows of one endpoint's load: a peak-sensitive, exponentially weighted moving average of
 * the round-trip time, and the requests in flight. Time is an argument; milliseconds throughout.
 *
 * Peak EWMA as in Finagle and Linkerd: a slower answer raises the estimate at once, faster ones bring it
 * down over the decay time. Cost is estimate × (in flight + 1).
 */

/**
 * Estimate while the first answer is awaited. Before the first request the cost is zero: a new endpoint is
 * tried at once, then waited for, so that it is neither starved by faster ones nor flooded (as in Finagle).
 */
export const DEFAULT_RTT_MS = 1_000;
/** Time constant of the decay, as Linkerd's. */
export const DECAY_MS = 10_000;
/**
 * What a failure counts as. Without it an endpoint that fails fast looks like the fastest of all and
 * attracts the load (istio#39870).
 */
export const FAILURE_RTT_MS = 5_000;

export class Load {
  inFlight = 0;
  private estimateMs = 0;
  private updatedMs = 0;
  private observed = false;

  /** Expected cost of one more request, now. */
  cost(nowMs: number): number {
    if (!this.observed) return DEFAULT_RTT_MS * this.inFlight;
    return this.estimate(nowMs) * (this.inFlight + 1);
  }

  /** Current estimate: decays towards zero while nothing is heard, so that an endpoint once slow is tried again. */
  estimate(nowMs: number): number {
    const elapsed = nowMs - this.updatedMs;
    return elapsed > 0 ? this.estimateMs * Math.exp(-elapsed / DECAY_MS) : this.estimateMs;
  }

  /** An answer took `rttMs`. */
  observe(nowMs: number, rttMs: number): void {
    const current = this.observed ? this.estimate(nowMs) : 0;
    if (rttMs >= current) {
      this.estimateMs = rttMs;
    } else {
      const elapsed = Math.max(0, nowMs - this.updatedMs);
      const weight = Math.exp(-elapsed / DECAY_MS);
      this.estimateMs = this.estimateMs * weight + rttMs * (1 - weight);
    }
    this.observed = true;
    this.updatedMs = nowMs;
  }

  /** It could not be reached, or broke. */
  fail(nowMs: number): void {
    this.observe(nowMs, Math.max(FAILURE_RTT_MS, this.estimate(nowMs)));
  }
}
