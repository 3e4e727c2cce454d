/** The only source of time and timers outside `main.ts` files; tests advance a manual one. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. For certificate dates; may jump. */
  wallMs(): number;
  /** Milliseconds from an arbitrary origin; never goes back. For timeouts and latency. */
  monotonicMs(): number;
  /** Runs `f` once, `delayMs` from now; zero or less: in the next turn. The returned function cancels it. Any length of delay works. */
  after(delayMs: number, f: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;
