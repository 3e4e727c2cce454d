import type { Progress } from "./hub.ts";

/** A new operator waits so long before it says that nobody subscribes: proxies may be on their way back. */
export const NO_SUBSCRIBERS_AFTER_MS = 5000;

export interface ProgrammedDeps {
  readonly progress: (key: string, epoch: number) => Progress;
  readonly epochOf: (key: string) => number;
  readonly hasSubscribers: (key: string) => boolean;
  readonly nowMs: () => number;
}

export interface ProgrammedVerdict {
  readonly status: "True" | "False";
  readonly reason: "Programmed" | "NoSubscribers" | "Pending" | "Rejected";
  readonly message: string;
}

interface Watch {
  readonly uid: string;
  readonly generation: number;
  keys: readonly string[];
  /** Epoch that each document had when this generation was first planned, for those that anyone subscribes to. */
  readonly needs: Map<string, number>;
  done: ProgrammedVerdict | null;
}

const DONE: ProgrammedVerdict = { status: "True", reason: "Programmed", message: "Every connected proxy that uses it has acknowledged it" };
const NOBODY: ProgrammedVerdict = {
  status: "True",
  reason: "NoSubscribers",
  message: "No connected proxy uses it now; those to come get this generation",
};
const PENDING: ProgrammedVerdict = {
  status: "False",
  reason: "Pending",
  message: "Not every connected proxy that uses it has acknowledged it yet",
};
const REJECTED: ProgrammedVerdict = {
  status: "False",
  reason: "Rejected",
  message: "A proxy refused it and keeps the last good version; the operator's log names proxy and reason",
};

/**
 * Follows each generation of an object until every connected subscriber holds what was planned from it. That is
 * answered once: neither new subscribers nor changed endpoints make it untrue again.
 */
export class ProgrammedTracker {
  readonly #deps: ProgrammedDeps;
  readonly #startMs: number;
  readonly #watches = new Map<string, Watch>();
  /** Document key → objects that still wait for it. */
  readonly #waiting = new Map<string, Set<string>>();

  constructor(deps: ProgrammedDeps) {
    this.#deps = deps;
    this.#startMs = deps.nowMs();
  }

  /** This generation of the object is in force, in these documents. `already`: its stored status says so (of an earlier life of the operator). */
  follow(object: string, uid: string, generation: number, keys: readonly string[], already: ProgrammedVerdict | null): void {
    const before = this.#watches.get(object);
    if (before !== undefined && before.uid === uid && before.generation === generation) {
      if (before.done === null) this.#setKeys(object, before, keys);
      return;
    }
    this.forget(object);
    const watch: Watch = { uid, generation, keys: [], needs: new Map(), done: already };
    this.#watches.set(object, watch);
    if (already === null) this.#setKeys(object, watch, keys);
  }

  forget(object: string): void {
    const watch = this.#watches.get(object);
    if (watch === undefined) return;
    this.#unwait(object, watch);
    this.#watches.delete(object);
  }

  /** Objects that wait for one of these documents. */
  waitingFor(keys: Iterable<string>): Set<string> {
    const objects = new Set<string>();
    for (const key of keys) for (const object of this.#waiting.get(key) ?? []) objects.add(object);
    return objects;
  }

  /** All objects that wait. */
  open(): string[] {
    return [...this.#watches].filter(([, watch]) => watch.done === null).map(([object]) => object);
  }

  /** How far the followed generation is; null for an object that is not followed. */
  verdict(object: string): ProgrammedVerdict | null {
    const watch = this.#watches.get(object);
    if (watch === undefined) return null;
    if (watch.done !== null) return watch.done;
    const found = this.#judge(watch);
    if (found.status === "True") {
      watch.done = found;
      this.#unwait(object, watch);
    }
    return found;
  }

  #judge(watch: Watch): ProgrammedVerdict {
    let subscribers = 0;
    let holding = 0;
    let nacked = 0;
    for (const key of watch.keys) {
      if (!this.#deps.hasSubscribers(key)) continue;
      let epoch = watch.needs.get(key);
      if (epoch === undefined) watch.needs.set(key, (epoch = this.#deps.epochOf(key)));
      const progress = this.#deps.progress(key, epoch);
      subscribers += progress.subscribers;
      holding += progress.holding;
      nacked += progress.nacked;
    }
    if (subscribers > 0) return holding === subscribers ? DONE : nacked > 0 ? REJECTED : PENDING;
    return this.#deps.nowMs() - this.#startMs >= NO_SUBSCRIBERS_AFTER_MS ? NOBODY : PENDING;
  }

  #setKeys(object: string, watch: Watch, keys: readonly string[]): void {
    this.#unwait(object, watch);
    watch.keys = keys;
    for (const key of keys) {
      let objects = this.#waiting.get(key);
      if (objects === undefined) this.#waiting.set(key, (objects = new Set()));
      objects.add(object);
      if (!watch.needs.has(key) && this.#deps.hasSubscribers(key)) watch.needs.set(key, this.#deps.epochOf(key));
    }
  }

  #unwait(object: string, watch: Watch): void {
    for (const key of watch.keys) {
      const objects = this.#waiting.get(key);
      objects?.delete(object);
      if (objects?.size === 0) this.#waiting.delete(key);
    }
  }
}
