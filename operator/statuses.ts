import type { Clock } from "#api/clock.ts";
import type { PlannedStatus } from "#mesh/plan/plan.ts";
import type { Hub } from "./hub.ts";
import { NO_SUBSCRIBERS_AFTER_MS, ProgrammedTracker, type ProgrammedVerdict } from "./programmed.ts";
import type { Resources } from "./resources.ts";
import { buildStatus, isAccepted, partsOf, storedVerdict } from "./status.ts";
import type { StatusQueue } from "./status-queue.ts";

/** Statuses that change this close together are planned once. */
const COALESCE_MS = 20;

/** Keeps the statuses of all policies as the planner and the proxies' acks say. */
export class Statuses {
  readonly #resources: Resources;
  readonly #queue: StatusQueue;
  readonly #clock: Clock;
  readonly #tracker: ProgrammedTracker;
  /** Last status that went to the queue, by object key. */
  readonly #said = new Map<string, { readonly uid: string; readonly json: string; readonly status: unknown }>();
  /** Number of parts that the tracker follows, by object key. */
  readonly #followed = new Map<string, number>();
  readonly #dirty = new Set<string>();
  #armed: (() => void) | null = null;
  readonly #cancelGrace: () => void;

  constructor(resources: Resources, hub: Hub, queue: StatusQueue, clock: Clock) {
    this.#resources = resources;
    this.#queue = queue;
    this.#clock = clock;
    this.#tracker = new ProgrammedTracker({
      progress: (key, epoch) => hub.progress(key, epoch),
      epochOf: (key) => hub.epochOf(key),
      hasSubscribers: (key) => hub.hasSubscribers(key),
      nowMs: () => clock.monotonicMs(),
    });
    this.#cancelGrace = clock.after(NO_SUBSCRIBERS_AFTER_MS, () => this.invalidate(this.#tracker.open().map(objectOf)));
  }

  /** What is planned of these objects may have changed. */
  invalidate(objects: Iterable<string>): void {
    for (const object of objects) this.#dirty.add(object);
    if (this.#dirty.size > 0) this.#armed ??= this.#clock.after(COALESCE_MS, () => this.#flush());
  }

  /** Subscribers of these documents have come further, or gone. */
  progressed(documents: Iterable<string>): void {
    const waiting = this.#tracker.waitingFor(documents);
    if (waiting.size > 0) this.invalidate([...waiting].map(objectOf));
  }

  /** The store was listed anew: what it holds counts, not what we said. */
  forgetSaid(): void {
    this.#said.clear();
  }

  stop(): void {
    this.#cancelGrace();
    this.#armed?.();
    this.#queue.stop();
  }

  #flush(): void {
    this.#armed = null;
    const objects = [...this.#dirty];
    this.#dirty.clear();
    for (const object of objects) this.#update(object);
  }

  #update(object: string): void {
    const planned = this.#resources.planStatus(object);
    if (planned === null) {
      this.#follow(object, 0);
      this.#said.delete(object);
      this.#queue.drop(object);
      return;
    }
    const stored = this.#resources.storedStatus(object);
    const said = this.#said.get(object);
    const before = said !== undefined && said.uid === planned.ref.uid ? said.status : stored;
    const verdicts = this.#verdicts(object, planned, before);
    const now = `${new Date(this.#clock.wallMs()).toISOString().slice(0, 19)}Z`;
    const status = buildStatus(planned, verdicts, before, now);
    const json = JSON.stringify(status);
    if (json === (before === said?.status ? said?.json : JSON.stringify(stored))) return;
    this.#said.set(object, { uid: planned.ref.uid, json, status });
    this.#queue.put(object, planned.ref, status);
  }

  #verdicts(object: string, planned: PlannedStatus, before: unknown): (ProgrammedVerdict | null)[] {
    const parts = partsOf(planned);
    this.#follow(object, parts.length);
    return parts.map((part, i) => {
      const watch = `${object}#${i}`;
      if (!isAccepted(part)) {
        this.#tracker.forget(watch);
        return null;
      }
      this.#tracker.follow(watch, planned.ref.uid, planned.generation, part.documents, storedVerdict(before, part, planned.generation));
      return this.#tracker.verdict(watch);
    });
  }

  /** Forgets the parts that the object no longer has. */
  #follow(object: string, parts: number): void {
    for (let i = parts; i < (this.#followed.get(object) ?? 0); i++) this.#tracker.forget(`${object}#${i}`);
    if (parts === 0) this.#followed.delete(object);
    else this.#followed.set(object, parts);
  }
}

function objectOf(watch: string): string {
  return watch.slice(0, watch.lastIndexOf("#"));
}
