import type { Clock, Random } from "#api/clock.ts";
import type { ObjectRef, StatusWriter } from "#api/store.ts";
import { WorkQueue } from "#kube/work-queue.ts";
import type { Logger } from "#runtime/logger.ts";

export interface LeaderStatusDeps {
  readonly writer: StatusWriter;
  /** Whether this replica leads at this moment. */
  readonly leads: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Statuses that a replica keeps for the day when it leads. The oldest are dropped: they are planned again when their object changes. */
const HELD_MAX = 10_000;

/**
 * Lets only the leader write. What the others would have written is kept, the newest of each object, and written when
 * this replica comes to lead: whoever led before may have died before writing it.
 */
export class LeaderStatusWriter implements StatusWriter {
  readonly #deps: LeaderStatusDeps;
  readonly #held = new Map<string, { readonly ref: ObjectRef; readonly status: unknown }>();
  /** Held ones that are being written; they never reject. */
  readonly #writing = new Map<string, Promise<void>>();
  readonly #queue: WorkQueue;

  constructor(deps: LeaderStatusDeps) {
    this.#deps = deps;
    const { clock, random, logger } = deps;
    this.#queue = new WorkQueue({ name: "held statuses", work: (key) => this.#writeHeld(key), concurrency: 4, clock, random, logger });
  }

  /** Resolves at once where it only keeps the status. */
  async write(ref: ObjectRef, status: unknown): Promise<void> {
    const key = `${ref.kind}/${ref.namespace}/${ref.name}`;
    this.#held.delete(key);
    // Of two writes under way at once the older could arrive last.
    await this.#writing.get(key);
    if (this.#deps.leads()) return this.#deps.writer.write(ref, status);
    this.#held.set(key, { ref, status });
    const oldest = this.#held.keys().next();
    if (this.#held.size > HELD_MAX && oldest.done === false) this.#held.delete(oldest.value);
  }

  /** This replica leads now: writes what it kept. */
  flush(): void {
    for (const key of this.#held.keys()) this.#queue.add(key);
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #writeHeld(key: string): Promise<void> {
    const held = this.#held.get(key);
    // No longer the leader: it stays for the next time.
    if (held === undefined || !this.#deps.leads()) return;
    const writing = this.#deps.writer.write(held.ref, held.status);
    this.#writing.set(
      key,
      writing.catch(() => {}).finally(() => this.#writing.delete(key)),
    );
    await writing;
    if (this.#held.get(key) === held) this.#held.delete(key);
  }
}
