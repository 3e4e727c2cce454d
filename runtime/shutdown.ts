import type { Clock } from "#api/clock.ts";
import type { Logger } from "./logger.ts";

interface Step {
  readonly name: string;
  readonly timeoutMs: number;
  readonly stop: () => Promise<void> | void;
}

/**
 * Stops a binary's parts in the opposite order of their start. A part that fails or takes longer than it may is
 * logged and passed over: the others still get their turn.
 */
export class Shutdown {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #steps: Step[] = [];
  #running: Promise<void> | null = null;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Call after the part has started. Zero milliseconds: it gets no time to be waited for. */
  add(name: string, timeoutMs: number, stop: () => Promise<void> | void): void {
    this.#steps.push({ name, timeoutMs, stop });
  }

  get begun(): boolean {
    return this.#running !== null;
  }

  /** Stops everything; called again it answers the same promise. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#stopAll();
    return this.#running;
  }

  async #stopAll(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) await this.#stopOne(step);
  }

  #stopOne({ name, timeoutMs, stop }: Step): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(timeoutMs, () => {
        this.#logger.warn("a part did not stop in time", { part: name, timeoutMs });
        resolve();
      });
      // Also for a `stop` that throws before it returns a promise.
      Promise.resolve()
        .then(stop)
        .catch((error: Error) => this.#logger.error("a part failed to stop", { part: name, error: error.message }))
        .then(() => {
          cancel();
          resolve();
        });
    });
  }
}
