import type { Clock } from "#api/clock.ts";

/** A clock that moves only when told to. Timers run in the order of their due time, then of their arming. */
export class ManualClock implements Clock {
  private monotonic = 0;
  private wall: number;
  private armed: { atMs: number; order: number; f: () => void }[] = [];
  private order = 0;

  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.wall = wallMs;
  }

  wallMs(): number {
    return this.wall;
  }

  monotonicMs(): number {
    return this.monotonic;
  }

  after(delayMs: number, f: () => void): () => void {
    const timer = { atMs: this.monotonic + Math.max(0, delayMs), order: this.order++, f };
    this.armed.push(timer);
    return () => {
      this.armed = this.armed.filter((t) => t !== timer);
    };
  }

  /** Timers not yet run or cancelled. */
  get pending(): number {
    return this.armed.length;
  }

  /** Moves both clocks on and runs what falls due, at its own time. */
  advance(ms: number): void {
    const end = this.monotonic + ms;
    for (;;) {
      const next = this.armed.filter((t) => t.atMs <= end).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.armed = this.armed.filter((t) => t !== next);
      this.wall += next.atMs - this.monotonic;
      this.monotonic = next.atMs;
      next.f();
    }
    this.wall += end - this.monotonic;
    this.monotonic = end;
  }

  /** The wall clock alone jumps, as when NTP steps it. */
  jumpWall(ms: number): void {
    this.wall += ms;
  }
}
