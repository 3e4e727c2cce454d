import type { Clock, Random } from "#api/clock.ts";
import type { Logger } from "#runtime/logger.ts";

export interface WorkQueueOptions {
  /** For the log: what is worked on. */
  readonly name: string;
  /** Makes what the key names as it should be, from what is there now. Rejecting means: again, after a while. */
  readonly work: (key: string) => Promise<void>;
  /** Keys worked on at once. */
  readonly concurrency: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** First wait after a failure, milliseconds; each further one doubles it. */
const RETRY_MS = 100;
const RETRY_MS_MAX = 60_000;

/**
 * Keys to be worked on, with client-go's meaning: a key is never worked on twice at once; added several times before
 * its turn it is worked on once; added during its turn it gets another; what failed comes again, later each time.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  /** In the order in which they were added. */
  readonly #ready = new Set<string>();
  readonly #working = new Set<string>();
  /** Added while they were worked on. */
  readonly #again = new Set<string>();
  readonly #waiting = new Map<string, { readonly atMs: number; readonly cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  #onIdle: (() => void)[] = [];
  #stopped = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  /** Keys that are ready, waiting or being worked on. */
  get length(): number {
    return new Set([...this.#ready, ...this.#working, ...this.#waiting.keys()]).size;
  }

  /** After `stop`: nothing. */
  add(key: string): void {
    if (this.#stopped) return;
    this.#cancelWait(key);
    if (this.#working.has(key)) this.#again.add(key);
    else this.#ready.add(key);
    this.#pump();
  }

  /** Not before so many milliseconds; of several waits of a key the soonest counts. */
  addAfter(key: string, delayMs: number): void {
    if (this.#stopped || this.#ready.has(key)) return;
    const atMs = this.#options.clock.monotonicMs() + delayMs;
    if ((this.#waiting.get(key)?.atMs ?? Number.POSITIVE_INFINITY) <= atMs) return;
    this.#cancelWait(key);
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#waiting.delete(key);
      this.add(key);
    });
    this.#waiting.set(key, { atMs, cancel });
  }

  /** Takes no more keys, forgets those that wait, and resolves when what is being worked on has ended. */
  stop(): Promise<void> {
    this.#stopped = true;
    for (const key of [...this.#waiting.keys()]) this.#cancelWait(key);
    this.#ready.clear();
    this.#again.clear();
    if (this.#working.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#working.size >= this.#options.concurrency) return;
      this.#ready.delete(key);
      this.#working.add(key);
      void this.#work(key);
    }
  }

  async #work(key: string): Promise<void> {
    const { work, logger, name, random } = this.#options;
    let retryMs: number | null = null;
    try {
      await work(key);
      this.#failures.delete(key);
    } catch (error) {
      const failures = this.#failures.get(key) ?? 0;
      this.#failures.set(key, failures + 1);
      // Half of it is fixed: a key that fails for good must not come back at once by luck.
      retryMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** Math.min(failures, 20)) * (0.5 + random() / 2);
      logger.warn("it could not be made as it should be", {
        queue: name,
        key,
        error: (error as Error).message,
        againInMs: Math.round(retryMs),
      });
    }
    this.#working.delete(key);
    if (this.#again.delete(key)) this.add(key);
    else if (retryMs !== null) this.addAfter(key, retryMs);
    this.#pump();
    if (this.#working.size > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #cancelWait(key: string): void {
    this.#waiting.get(key)?.cancel();
    this.#waiting.delete(key);
  }
}
