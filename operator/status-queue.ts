import type { Clock } from "#api/clock.ts";
import type { ObjectRef, StatusWriter } from "#api/store.ts";
import type { Logger } from "#runtime/logger.ts";
import { RateLimit } from "./rate-limit.ts";

/** Writes of one object are at least this far apart. */
export const OBJECT_WRITE_EVERY_MS = 1000;
/** Writes a second of all objects. */
export const WRITES_PER_SECOND = 20;
const RETRY_MS_MAX = 60_000;
/** While the common budget is spent. */
const BUDGET_WAIT_MS = 50;

interface Item {
  ref: ObjectRef;
  /** The newest wanted; undefined: nothing to write. */
  wanted: unknown;
  notBeforeMs: number;
  failures: number;
  writing: boolean;
}

/** Writes statuses: the newest of each object wins, slowly enough for an API server, again after a failure. */
export class StatusQueue {
  readonly #writer: StatusWriter;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #budget: RateLimit;
  readonly #items = new Map<string, Item>();
  #armed: (() => void) | null = null;
  /** When the pump is armed for; infinite: it is not. */
  #armedForMs = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(writer: StatusWriter, clock: Clock, logger: Logger) {
    this.#writer = writer;
    this.#clock = clock;
    this.#logger = logger;
    this.#budget = new RateLimit(clock, WRITES_PER_SECOND, WRITES_PER_SECOND, 1);
  }

  put(key: string, ref: ObjectRef, status: unknown): void {
    let item = this.#items.get(key);
    if (item === undefined) this.#items.set(key, (item = { ref, wanted: status, notBeforeMs: 0, failures: 0, writing: false }));
    else Object.assign(item, { ref, wanted: status });
    if (!this.#stopped) this.#wake(this.#try(key, item, this.#clock.monotonicMs()));
  }

  /** The object is gone: what waits for it is dropped. */
  drop(key: string): void {
    const item = this.#items.get(key);
    if (item !== undefined) item.wanted = undefined;
  }

  stop(): void {
    this.#stopped = true;
    this.#disarm();
  }

  #pump(): void {
    if (this.#stopped) return;
    this.#disarm();
    const nowMs = this.#clock.monotonicMs();
    let wakeInMs = Number.POSITIVE_INFINITY;
    for (const [key, item] of this.#items) wakeInMs = Math.min(wakeInMs, this.#try(key, item, nowMs));
    this.#wake(wakeInMs);
  }

  /** Writes the item if it may be now. Milliseconds until it is to be tried again; infinite: something else will tell. */
  #try(key: string, item: Item, nowMs: number): number {
    if (item.writing) return Number.POSITIVE_INFINITY;
    const waitMs = item.notBeforeMs - nowMs;
    if (item.wanted === undefined) {
      // Remembered until its second is over, so that dropping and putting again is no way around the limit.
      if (waitMs <= 0) this.#items.delete(key);
      return Number.POSITIVE_INFINITY;
    }
    if (waitMs > 0) return waitMs;
    if (!this.#budget.take("all")) return BUDGET_WAIT_MS;
    void this.#write(key, item);
    return Number.POSITIVE_INFINITY;
  }

  /** Pumps in so many milliseconds at the latest. */
  #wake(inMs: number): void {
    const atMs = this.#clock.monotonicMs() + inMs;
    if (atMs >= this.#armedForMs) return;
    this.#disarm();
    this.#armedForMs = atMs;
    this.#armed = this.#clock.after(inMs, () => this.#pump());
  }

  #disarm(): void {
    this.#armed?.();
    this.#armed = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
  }

  async #write(key: string, item: Item): Promise<void> {
    const { wanted, ref } = item;
    item.wanted = undefined;
    item.writing = true;
    try {
      await this.#writer.write(ref, wanted);
      item.failures = 0;
      item.notBeforeMs = this.#clock.monotonicMs() + OBJECT_WRITE_EVERY_MS;
    } catch (error) {
      item.failures++;
      const waitMs = Math.min(RETRY_MS_MAX, OBJECT_WRITE_EVERY_MS * 2 ** (item.failures - 1));
      item.notBeforeMs = this.#clock.monotonicMs() + waitMs;
      // Unless something newer came meanwhile.
      item.wanted ??= wanted;
      this.#logger.warn("a status was not written", { object: key, error: (error as Error).message, againInMs: waitMs });
    }
    item.writing = false;
    this.#pump();
  }
}
