/** First wait before a restart, milliseconds; each further one is twice as long. */
const FIRST_MS = 250;
const LONGEST_MS = 10_000;
/** Up for so long, a process counts as healthy and the next wait is the first again, milliseconds. */
const HEALTHY_MS = 10_000;

/** How long to wait before the next restart, given how long the last life was. */
export class Backoff {
  private nextMs = FIRST_MS;

  afterLifeOf(upMs: number): number {
    if (upMs >= HEALTHY_MS) this.nextMs = FIRST_MS;
    const wait = this.nextMs;
    this.nextMs = Math.min(LONGEST_MS, wait * 2);
    return wait;
  }

  reset(): void {
    this.nextMs = FIRST_MS;
  }
}
