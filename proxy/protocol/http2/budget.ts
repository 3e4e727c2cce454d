/** A bucket of tokens that fills with time: what a peer may do often, but not all the time. */
export class Budget {
  private level: number;
  private readonly capacity: number;
  private readonly perMs: number;
  private readonly nowMs: () => number;
  private atMs: number;

  /** `burst` tokens at once and `perSecond` more a second. `nowMs` is monotonic, asked only when the bucket runs dry. */
  constructor(burst: number, perSecond: number, nowMs: () => number) {
    this.level = this.capacity = burst;
    this.perMs = perSecond / 1000;
    this.nowMs = nowMs;
    this.atMs = nowMs();
  }

  /** Takes tokens; false: there were not enough. */
  spend(tokens: number): boolean {
    this.level -= tokens;
    if (this.level >= 0) return true;
    const now = this.nowMs();
    this.level = Math.min(this.capacity, this.level + (now - this.atMs) * this.perMs);
    this.atMs = now;
    return this.level >= 0;
  }

  /** Gives tokens back, never above the burst. */
  earn(tokens: number): void {
    if (this.level < this.capacity) this.level = Math.min(this.capacity, this.level + tokens);
  }
}
