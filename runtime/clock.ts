import type { Clock } from "#api/clock.ts";

/** Longest delay that a Node timer can hold: 2^31 − 1 ms, 24.8 days. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The real clock. Every other file takes a `Clock`. */
export class SystemClock implements Clock {
  wallMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, f: () => void): () => void {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      // Longer waits are chained: Node fires a timer beyond its limit at once.
      timer = leftMs > TIMER_MS_MAX ? setTimeout(() => arm(leftMs - TIMER_MS_MAX), TIMER_MS_MAX) : setTimeout(f, Math.max(0, leftMs));
    };
    arm(delayMs);
    return () => clearTimeout(timer);
  }
}
