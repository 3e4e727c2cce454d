import type { DiscoveryResponse } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type Encoded, encode, encodeDelta, type EndpointMap, type Planned } from "./encode.ts";

/** Versions of an endpoints document to which a delta can be made. */
const HISTORY_MAX = 8;
/** Documents without a subscriber that are kept, for streams that end and come back. */
const IDLE_MAX = 1000;

interface Entry {
  readonly key: string;
  /** Null: there is no such document. */
  current: Encoded | null;
  requires: readonly string[];
  /** Grows with each version, over all keys: a forgotten document that comes back does not begin again. */
  epoch: number;
  /** The epoch that `refresh` last answered for: a plan drawn in between by one stream must still be told to the others. */
  announced: number;
  /** When the change that made the current version was seen, monotonic milliseconds. */
  changedAtMs: number;
  /** When the first change since the last planning was seen. */
  staleSinceMs: number;
  /** Must be planned again before it is used. */
  stale: boolean;
  subscribers: number;
  /** Earlier and current versions' endpoints by version, oldest first. */
  readonly history: Map<string, EndpointMap>;
  /** To the current version, by the version it starts from; null: send the whole. */
  readonly deltas: Map<string, DiscoveryResponse | null>;
}

/** What a stream needs to know of a document. */
export interface Current {
  readonly encoded: Encoded | null;
  readonly epoch: number;
  readonly changedAtMs: number;
}

/** Documents planned on demand, each version encoded once, forgotten when nobody has asked for long. */
export class DocumentCache {
  readonly #plan: (key: string) => Planned | null;
  readonly #entries = new Map<string, Entry>();
  /** Keys without a subscriber, the longest unused first. */
  readonly #idle = new Set<string>();
  #epoch = 0;

  constructor(plan: (key: string) => Planned | null) {
    this.#plan = plan;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The newest version, planned now if need be. */
  get(key: string, nowMs: number): Current {
    const entry = this.#entry(key, nowMs);
    if (entry.stale) this.#replan(entry);
    return { encoded: entry.current, epoch: entry.epoch, changedAtMs: entry.changedAtMs };
  }

  /** The messages that bring a holder of version `held` ("" for none) to the current version. */
  messages(key: string, held: string): readonly DiscoveryResponse[] {
    const entry = this.#entries.get(key);
    const current = entry?.current;
    if (entry === undefined || current === null || current === undefined) return [];
    if (held === "" || current.endpoints === null) return current.messages;
    let delta = entry.deltas.get(held);
    if (delta === undefined) {
      const from = entry.history.get(held);
      delta =
        from === undefined
          ? null
          : encodeDelta(
              { key, resourceVersion: current.resourceVersion, requires: entry.requires },
              held,
              from,
              current.endpoints,
              current.version,
            );
      // Only versions that we know are remembered: `held` is the peer's word.
      if (from !== undefined) entry.deltas.set(held, delta);
    }
    return delta === null ? current.messages : [delta];
  }

  retain(key: string, nowMs: number): void {
    this.#entry(key, nowMs).subscribers++;
    this.#idle.delete(key);
  }

  release(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || --entry.subscribers > 0) return;
    this.#idle.add(key);
    for (const oldest of this.#idle) {
      if (this.#idle.size <= IDLE_MAX) break;
      this.#idle.delete(oldest);
      this.#entries.delete(oldest);
    }
  }

  /** Something these documents are made of changed at `changedAtMs`. Answers those that are held by subscribers. */
  invalidate(keys: Iterable<string>, changedAtMs: number): string[] {
    const held: string[] = [];
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (!entry.stale) entry.staleSinceMs = changedAtMs;
      entry.stale = true;
      if (entry.subscribers > 0) held.push(key);
    }
    return held;
  }

  /** Plans again if need be; true when there is a new version since this was last asked (or the document was made or unmade). */
  refresh(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    if (entry.stale) this.#replan(entry);
    const changed = entry.epoch !== entry.announced;
    entry.announced = entry.epoch;
    return changed;
  }

  keys(): Iterable<string> {
    return this.#entries.keys();
  }

  #entry(key: string, nowMs: number): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        key,
        current: null,
        requires: [],
        epoch: 0,
        announced: 0,
        changedAtMs: nowMs,
        staleSinceMs: nowMs,
        stale: true,
        subscribers: 0,
        history: new Map(),
        deltas: new Map(),
      };
      this.#entries.set(key, entry);
      this.#idle.add(key);
    }
    return entry;
  }

  #replan(entry: Entry): void {
    const planned = this.#plan(entry.key);
    const next = planned === null ? null : encode(planned, entry.current);
    entry.stale = false;
    entry.requires = planned?.requires ?? [];
    entry.deltas.clear();
    const same = next?.version === entry.current?.version && entry.epoch > 0;
    entry.current = next;
    // Same content from newer objects: the revision moves on, nobody needs to hear of it.
    if (same) return;
    entry.epoch = ++this.#epoch;
    entry.changedAtMs = entry.staleSinceMs;
    if (next?.endpoints) {
      entry.history.delete(next.version);
      entry.history.set(next.version, next.endpoints);
      for (const version of entry.history.keys()) {
        if (entry.history.size <= HISTORY_MAX) break;
        entry.history.delete(version);
      }
    }
  }
}
