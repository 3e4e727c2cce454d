import type { Clock, Random } from "#api/clock.ts";
import { ERRORS } from "#api/errors.ts";
import type { DiscoveryResponse } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Logger } from "#runtime/logger.ts";
import type { MetricsRegistry } from "#runtime/metrics-server.ts";
import { type Current, DocumentCache } from "./document-cache.ts";
import type { Planned } from "./encode.ts";
import type { Peer } from "./peer.ts";
import { Session, type SessionHost, type SubscriptionState } from "./session.ts";

/** Changes that arrive this close together are planned together. Short enough that nobody waits for it. */
export const COALESCE_MS = 5;
/** A stream's life: 30 minutes, give or take a fifth, so that streams opened together do not end together. */
export const STREAM_MS = 30 * 60_000;
const STREAM_SPREAD = 0.2;
/** From Goodbye to the end: time to open another stream before this one goes. */
export const GOODBYE_MS = 2000;

export interface HubDeps {
  readonly plan: (key: string) => Planned | null;
  /** Highest revision seen. */
  readonly revision: () => bigint;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** Some subscriber's hold on some document changed, or documents were planned anew. */
  readonly onProgress: (keys: readonly string[]) => void;
}

/** One open stream as the transport sees it. */
export interface OpenStream {
  readonly session: Session;
  /** Called when there may be something to draw from `session.next`. Set by the transport. */
  wake: () => void;
}

/** What is known of how far the subscribers of some documents have come. */
export interface Progress {
  readonly subscribers: number;
  /** How many hold the epoch asked for, or a later one. */
  readonly holding: number;
  /** How many refused what they were last sent. */
  readonly nacked: number;
}

/** Who subscribes to what, and who must be told. */
export class Hub implements SessionHost {
  readonly #deps: HubDeps;
  readonly #cache: DocumentCache;
  readonly #streams = new Map<Session, OpenStream>();
  readonly #subscribers = new Map<string, Set<Session>>();
  readonly #counts: Record<SubscriptionState, number> = { pending: 0, acked: 0, nacked: 0, absent: 0 };
  readonly #dirty = new Set<string>();
  #flushArmed = false;
  #closing = false;

  constructor(deps: HubDeps) {
    this.#deps = deps;
    this.#cache = new DocumentCache(deps.plan);
    deps.metrics.onScrape(() => {
      deps.metrics.set("weft_operator_streams", {}, this.#streams.size);
      for (const state of ["pending", "acked", "nacked"] as const)
        deps.metrics.set("weft_document_subscribers", { state }, this.#counts[state]);
    });
  }

  /** A stream of this peer begins. It ends by Goodbye after about half an hour. */
  open(peer: Peer): OpenStream {
    const stream: OpenStream = { session: new Session(peer, this), wake: () => {} };
    this.#streams.set(stream.session, stream);
    if (this.#closing) {
      stream.session.sayGoodbye("the operator is going away");
      stream.session.finish();
    }
    return stream;
  }

  /** Arms the stream's end; the returned function disarms it. */
  limitLife(stream: OpenStream): () => void {
    const lifeMs = STREAM_MS * (1 - STREAM_SPREAD + 2 * STREAM_SPREAD * this.#deps.random());
    let cancel = this.#deps.clock.after(lifeMs, () => {
      stream.session.sayGoodbye("streams end after half an hour");
      stream.wake();
      cancel = this.#deps.clock.after(GOODBYE_MS, () => {
        stream.session.finish();
        stream.wake();
      });
    });
    return () => cancel();
  }

  close(stream: OpenStream): void {
    stream.session.close();
    this.#streams.delete(stream.session);
  }

  /** Every stream gets Goodbye, those that open from now on too. */
  goodbye(reason: string): void {
    this.#closing = true;
    for (const stream of this.#streams.values()) {
      stream.session.sayGoodbye(reason);
      stream.wake();
    }
  }

  /** Ends every stream. */
  finish(): void {
    for (const stream of this.#streams.values()) {
      stream.session.finish();
      stream.wake();
    }
  }

  /** What these documents are made of has changed; they are planned after COALESCE_MS, if anyone subscribes. */
  invalidate(keys: Iterable<string>): void {
    for (const key of this.#cache.invalidate(keys, this.#deps.clock.monotonicMs())) this.#dirty.add(key);
    if (this.#flushArmed || this.#dirty.size === 0) return;
    this.#flushArmed = true;
    this.#deps.clock.after(COALESCE_MS, () => this.#flush());
  }

  /** Epoch that a document has now, planning it if need be. */
  epochOf(key: string): number {
    return this.current(key).epoch;
  }

  /** True while some stream subscribes to the key. */
  hasSubscribers(key: string): boolean {
    return this.#subscribers.has(key);
  }

  progress(key: string, epoch: number): Progress {
    let subscribers = 0;
    let holding = 0;
    let nacked = 0;
    for (const session of this.#subscribers.get(key) ?? []) {
      const progress = session.progress(key);
      if (progress === null) continue;
      subscribers++;
      if (progress.heldEpoch >= epoch) holding++;
      else if (progress.state === "nacked") nacked++;
    }
    return { subscribers, holding, nacked };
  }

  current(key: string): Current {
    return this.#cache.get(key, this.#deps.clock.monotonicMs());
  }

  messages(key: string, held: string): readonly DiscoveryResponse[] {
    return this.#cache.messages(key, held);
  }

  revision(): bigint {
    return this.#deps.revision();
  }

  subscribed(session: Session, key: string): void {
    let sessions = this.#subscribers.get(key);
    if (sessions === undefined) this.#subscribers.set(key, (sessions = new Set()));
    sessions.add(session);
    this.#cache.retain(key, this.#deps.clock.monotonicMs());
  }

  unsubscribed(session: Session, key: string): void {
    const sessions = this.#subscribers.get(key);
    sessions?.delete(session);
    if (sessions?.size === 0) this.#subscribers.delete(key);
    this.#cache.release(key);
    this.#deps.onProgress([key]);
  }

  moved(from: SubscriptionState | null, to: SubscriptionState | null): void {
    if (from !== null) this.#counts[from]--;
    if (to !== null) this.#counts[to]++;
  }

  acked(_session: Session, key: string, version: string): void {
    const { encoded, changedAtMs } = this.current(key);
    if (encoded?.version === version)
      this.#deps.metrics.observe("weft_operator_propagation_seconds", {}, (this.#deps.clock.monotonicMs() - changedAtMs) / 1000);
    this.#deps.onProgress([key]);
  }

  nacked(session: Session, key: string, version: string, code: string, reason: string): void {
    // The peer writes the code: only ours become label values.
    this.#deps.metrics.add("weft_document_nacks_total", { code: Object.hasOwn(ERRORS, code) ? code : "_OTHER" });
    this.#deps.logger.warn("a proxy refused a document", { key, version, code, reason, pod: `${session.peer.namespace}/${session.pod}` });
    this.#deps.onProgress([key]);
  }

  #flush(): void {
    this.#flushArmed = false;
    const keys = [...this.#dirty];
    this.#dirty.clear();
    const startMs = this.#deps.clock.monotonicMs();
    const changed = keys.filter((key) => this.#cache.refresh(key));
    this.#deps.metrics.observe("weft_operator_plan_duration_seconds", {}, (this.#deps.clock.monotonicMs() - startMs) / 1000);
    const woken = new Set<OpenStream>();
    for (const key of changed) {
      for (const session of this.#subscribers.get(key) ?? []) {
        session.notify(key);
        const stream = this.#streams.get(session);
        if (stream !== undefined) woken.add(stream);
      }
    }
    for (const stream of woken) stream.wake();
    this.#deps.onProgress(keys);
  }
}
