import { toBinary } from "@bufbuild/protobuf";
import type { ErrorCode } from "#api/errors.ts";
import {
  type DiscoveryRequest,
  type DiscoveryResponse,
  type Document,
  DocumentSchema,
  type Service,
  type Trust,
  type Workload,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { CompiledService } from "#mesh/decide/compile.ts";
import { bad, type CheckContext, type Refusal, refusalOf } from "./checks.ts";
import { type EndpointSet, Gathering, isSkipped, receiveSlice, skipRest } from "./endpoints.ts";
import {
  type CompiledDocument,
  documentOf,
  type Entry,
  hold,
  holdNothing,
  newEntry,
  type ServiceSnapshot,
  staleness,
  inForce,
} from "./entry.ts";
import { type Kind, parseKey, TRUST_KEY } from "./keys.ts";
import { Outbox } from "./outbox.ts";
import { References } from "./references.ts";

export interface SessionOptions extends CheckContext {
  readonly pod: string;
  readonly proxyVersion: string;
  readonly workloadKey: string;
  /** Throws when the document means nothing. */
  readonly compile: (service: Service) => CompiledService;
}

/** What the machine tells of, synchronously. */
export interface SessionEffects {
  onWorkload(workload: Workload): void;
  /** Only what this process heard from an operator, not what was loaded from disk. */
  onTrust(trust: Trust): void;
  onService(key: string, snapshot: ServiceSnapshot | null): void;
  onEndpoints(key: string, endpoints: EndpointSet): void;
  /** A service or endpoints document is no longer held: what was kept for it can go. */
  onForgotten(key: string): void;
  onOutcome(kind: Kind, outcome: "applied" | ErrorCode): void;
  /** Something held has changed: the last-good file is out of date. */
  onDirty(): void;
  /** There are requests to take. */
  onRequests(): void;
}

export interface DocumentState {
  readonly key: string;
  readonly kind: Kind;
  readonly version: string;
  readonly resourceVersion: string;
  readonly state: "requested" | "waiting-for-endpoints" | "applied" | "absent" | "idle";
}

/** Minutes (ticks) without use after which a service is unsubscribed. */
export const IDLE_TICKS = 10;
/** Unsubscribed services that are kept as last-good. */
export const IDLE_SERVICES_MAX = 1_000;

/**
 * The proxy's half of the discovery protocol (discovery.proto), without transport, timer or file: fed with responses, it
 * keeps the documents in force and makes the requests to send.
 *
 * Laws: a service is in force only when every endpoints document that it names is held (or known not to be); each
 * version received is answered by one ack, after it is in force, or one nack, and a nack changes nothing;
 * never back to a lower resource version; what was held stays through every error and loss of the stream.
 */
export class DiscoverySession {
  private readonly options: SessionOptions;
  private readonly fx: SessionEffects;
  private readonly outbox: Outbox;
  private readonly entries = new Map<string, Entry>();
  private readonly references: References;
  /** Idle services, the longest idle first. */
  private readonly idle = new Set<string>();
  private open = false;
  private live = false;
  private ticks = 0;

  constructor(options: SessionOptions, effects: SessionEffects) {
    this.options = options;
    this.fx = effects;
    this.outbox = new Outbox(() => effects.onRequests());
    this.references = new References(this.entries, this.outbox, (key) => effects.onForgotten(key));
    this.entries.set(TRUST_KEY, newEntry(TRUST_KEY, "trust", 0));
    this.entries.set(options.workloadKey, newEntry(options.workloadKey, "workload", 0));
  }

  /** True from the first response of a stream to its end. */
  get connected(): boolean {
    return this.live;
  }

  /** A stream was opened: what to send on it first can be taken. */
  opened(): void {
    this.open = true;
    this.live = false;
    this.outbox.reset(true);
    const { pod, proxyVersion, features } = this.options;
    this.outbox.hello(pod, proxyVersion, [...features]);
    for (const entry of this.entries.values()) {
      entry.removedHere = false;
      if (entry.wanted) this.outbox.subscribe(entry);
    }
  }

  /** The stream is gone. All that is held stays in force. */
  closed(): void {
    this.open = false;
    this.live = false;
    this.outbox.reset(false);
    for (const entry of [...this.entries.values()]) {
      entry.gathering = null;
      entry.skipping = null;
      entry.awaitingWhole = false;
      entry.stale = false;
      // It was never acked: the next stream brings it again.
      entry.pending = null;
      if (entry.kind === "service") this.references.update(entry);
    }
  }

  takeRequests(): DiscoveryRequest[] {
    return this.outbox.take();
  }

  receive(response: DiscoveryResponse): void {
    if (!this.open) return;
    this.live = true;
    const message = response.message;
    // Goodbye is the client's business, and a message of a later release says nothing that we could act on.
    if (message.case === "document") this.onDocument(message.value);
    else if (message.case === "removed") this.onRemoved(message.value.key, message.value.resourceVersion);
    else if (message.case === "current") this.onCurrent(message.value.key, message.value.version);
  }

  workload(): Workload | null {
    const body = this.entries.get(this.options.workloadKey)?.document?.body;
    return body?.case === "workload" ? body.value : null;
  }

  trust(): Trust | null {
    const body = this.entries.get(TRUST_KEY)?.document?.body;
    return body?.case === "trust" ? body.value : null;
  }

  /** What is in force, null when there is no such service, undefined when that is not known (yet): the first call subscribes. Marks it as used. */
  service(key: string): ServiceSnapshot | null | undefined {
    const entry = this.entries.get(key);
    if (entry?.wanted !== true) return this.wake(key, entry);
    entry.usedTick = this.ticks;
    return inForce(entry);
  }

  /** The operator was silent for too long about a service that was idle: what is held must do. */
  giveUpWaiting(key: string): void {
    const entry = this.entries.get(key);
    if (entry !== undefined) entry.stale = false;
  }

  endpoints(key: string): EndpointSet | undefined {
    return this.entries.get(key)?.endpoints ?? undefined;
  }

  /** To be called once a minute. Unsubscribes what was not used for ten, while the operator is there to ask again. */
  tick(): void {
    this.ticks++;
    if (!this.live) return;
    for (const entry of [...this.entries.values()]) {
      if (entry.kind === "service" && entry.wanted && this.ticks - entry.usedTick >= IDLE_TICKS) this.putToSleep(entry);
    }
    for (const key of this.idle) {
      if (this.idle.size <= IDLE_SERVICES_MAX) break;
      this.forget(this.entries.get(key)!);
    }
  }

  *describe(): Generator<DocumentState> {
    for (const { key, kind, version, resourceVersion, wanted, pending, absent } of this.entries.values()) {
      const state = !wanted
        ? "idle"
        : pending !== null
          ? "waiting-for-endpoints"
          : version !== ""
            ? "applied"
            : absent
              ? "absent"
              : "requested";
      yield { key, kind, version, resourceVersion: String(resourceVersion), state };
    }
  }

  /** Every document held, encoded, endpoints before the services that name them. Encodes only what changed since the last call. */
  lastGood(): Uint8Array[] {
    const rank: Readonly<Record<Kind, number>> = { trust: 0, workload: 1, endpoints: 2, service: 3 };
    const held = [...this.entries.values()].filter((e) => e.version !== "").sort((a, b) => rank[a.kind] - rank[b.kind]);
    return held.map((entry) => (entry.encoded ??= toBinary(DocumentSchema, documentOf(entry))));
  }

  /** Takes up last-good documents, in the order of `lastGood`. Call before the first stream. What no longer passes the checks is left out. */
  load(documents: Iterable<Document>): void {
    const endpoints = new Map<string, Document>();
    for (const document of documents) {
      if (refusalOf(document, this.options) !== null) continue;
      const entry = this.entries.get(document.key);
      if (document.body.case === "endpoints") endpoints.set(document.key, document);
      else if (document.body.case === "service") this.loadService(document, endpoints);
      else if (entry !== undefined) {
        hold(entry, document);
        if (document.body.case === "workload") this.fx.onWorkload(document.body.value);
      }
    }
  }

  private loadService(document: Document, endpoints: ReadonlyMap<string, Document>): void {
    const compiled = this.compile(document);
    if ("code" in compiled || this.entries.has(document.key) || compiled.refers.some((key) => !endpoints.has(key))) return;
    const entry = newEntry(document.key, "service", this.ticks);
    this.entries.set(entry.key, entry);
    entry.pending = compiled;
    this.references.update(entry);
    for (const key of compiled.refers) {
      const source = endpoints.get(key)!;
      const target = this.entries.get(key)!;
      if (source.body.case !== "endpoints" || target.endpoints !== null) continue;
      const gathering = new Gathering(source.version, "", null);
      gathering.add(source.body.value);
      this.applyEndpoints(target, source, gathering);
    }
    this.applyPending(entry);
  }

  private onDocument(document: Document): void {
    const entry = this.entries.get(document.key);
    // Not wanted: it crossed with our Unsubscribe.
    if (entry?.wanted !== true || isSkipped(entry, document)) return;
    const refusal = refusalOf(document, this.options);
    if (refusal !== null) {
      skipRest(entry, document);
      this.nack(entry, document, refusal);
      return;
    }
    if (document.body.case === "endpoints") {
      this.onSlice(entry, document);
      return;
    }
    if (document.version === entry.version) {
      this.confirm(entry, document.resourceVersion);
      return;
    }
    const stale = staleness(entry, document);
    if (stale !== null) {
      this.nack(entry, document, stale);
      return;
    }
    if (document.body.case === "service") {
      const compiled = this.compile(document);
      if ("code" in compiled) {
        this.nack(entry, document, compiled);
        return;
      }
      entry.pending = compiled;
      this.references.update(entry);
      this.applyPending(entry);
      return;
    }
    hold(entry, document);
    if (document.body.case === "workload") this.fx.onWorkload(document.body.value);
    if (document.body.case === "trust") this.fx.onTrust(document.body.value);
    this.applied(entry);
  }

  private compile(document: Document): CompiledDocument | Refusal {
    if (document.body.case !== "service") return bad("not a service");
    const body = document.body.value;
    try {
      const snapshot = { key: document.key, version: document.version, service: this.options.compile(body) };
      return { document, snapshot, refers: [...new Set(body.clusters.map((c) => c.endpoints))] };
    } catch (error) {
      return bad(error instanceof Error ? error.message : String(error));
    }
  }

  private applyPending(entry: Entry): void {
    const pending = entry.pending;
    if (pending === null || pending.refers.some((key) => (this.entries.get(key)?.endpoints ?? null) === null)) return;
    entry.pending = null;
    hold(entry, pending.document);
    entry.snapshot = pending.snapshot;
    entry.refers = pending.refers;
    entry.stale = false;
    this.fx.onService(entry.key, entry.snapshot);
    this.references.update(entry);
    this.applied(entry);
  }

  private onSlice(entry: Entry, document: Document): void {
    if (document.body.case !== "endpoints") return;
    const outcome = receiveSlice(entry, document.version, document.body.value);
    if (outcome.kind === "nothing") return;
    if (outcome.kind === "refused") {
      skipRest(entry, document);
      this.nack(entry, document, outcome.refusal);
      if (outcome.askWhole) this.askWhole(entry);
      return;
    }
    if (document.version === entry.version) {
      this.confirm(entry, document.resourceVersion);
      return;
    }
    const stale = staleness(entry, document);
    if (stale !== null) {
      this.nack(entry, document, stale);
      return;
    }
    this.applyEndpoints(entry, document, outcome.gathering);
    this.applied(entry);
    this.applyWaiting(entry.key);
  }

  private applyEndpoints(entry: Entry, document: Document, gathering: Gathering): void {
    hold(entry, document);
    entry.document = null;
    entry.byAddress = gathering.finish();
    entry.endpoints = { key: entry.key, version: document.version, list: [...entry.byAddress.values()] };
    this.fx.onEndpoints(entry.key, entry.endpoints);
  }

  /** Services that waited for these endpoints. */
  private applyWaiting(endpointsKey: string): void {
    for (const service of this.references.to(endpointsKey)) this.applyPending(service);
  }

  private onRemoved(key: string, resourceVersion: bigint): void {
    const entry = this.entries.get(key);
    if (entry?.wanted !== true || resourceVersion < entry.resourceVersion) return;
    // Who we are and whom we trust is not unlearned: a pod that is being deleted still serves.
    if (entry.kind === "trust" || entry.kind === "workload") return;
    holdNothing(entry, resourceVersion);
    if (entry.kind === "service") {
      this.fx.onService(key, null);
      this.references.update(entry);
    } else {
      entry.endpoints = { key, version: "", list: [] };
      this.fx.onEndpoints(key, entry.endpoints);
      this.applyWaiting(key);
    }
    this.fx.onDirty();
  }

  private onCurrent(key: string, version: string): void {
    const entry = this.entries.get(key);
    if (entry?.wanted !== true || entry.awaitingWhole) return;
    if (version !== "" && version === entry.version) this.confirm(entry, entry.resourceVersion);
    else this.askWhole(entry);
  }

  /** The newest is what we hold already. Acked like anything received: a replica that never saw our ack counts it. */
  private confirm(entry: Entry, resourceVersion: bigint): void {
    entry.awaitingWhole = false;
    if (resourceVersion > entry.resourceVersion) {
      entry.resourceVersion = resourceVersion;
      if (entry.document !== null) entry.document.resourceVersion = resourceVersion;
      entry.encoded = null;
    }
    entry.pending = null;
    if (entry.kind === "service") this.references.update(entry);
    if (entry.document?.body.case === "trust") this.fx.onTrust(entry.document.body.value);
    if (entry.stale) {
      entry.stale = false;
      this.fx.onService(entry.key, entry.snapshot);
    }
    this.outbox.ack(entry.key, entry.version);
  }

  private applied(entry: Entry): void {
    this.fx.onOutcome(entry.kind, "applied");
    this.fx.onDirty();
    this.outbox.ack(entry.key, entry.version);
  }

  private nack(entry: Entry, document: Document, refusal: Refusal): void {
    this.fx.onOutcome(entry.kind, refusal.code);
    this.outbox.nack(document.key, document.version, refusal);
  }

  /** Unsubscribing first makes it unmistakable that nothing is held, whatever the operator remembers of us. */
  private askWhole(entry: Entry): void {
    entry.gathering = null;
    entry.skipping = null;
    entry.awaitingWhole = true;
    this.outbox.unsubscribe(entry.key);
    this.outbox.subscribe({ key: entry.key, version: "", resourceVersion: 0n });
  }

  private wake(key: string, existing: Entry | undefined): ServiceSnapshot | null | undefined {
    if (existing === undefined && parseKey(key)?.kind !== "service") return null;
    const entry = existing ?? newEntry(key, "service", this.ticks);
    this.entries.set(key, entry);
    this.idle.delete(key);
    entry.wanted = true;
    entry.usedTick = this.ticks;
    entry.stale = this.live && entry.version !== "";
    this.references.update(entry);
    this.outbox.subscribe(entry);
    return inForce(entry);
  }

  private putToSleep(entry: Entry): void {
    entry.wanted = false;
    entry.pending = null;
    this.outbox.unsubscribe(entry.key);
    if (entry.version === "") {
      this.forget(entry);
      return;
    }
    this.idle.add(entry.key);
    this.references.update(entry);
    this.references.sleep(entry);
  }

  private forget(entry: Entry): void {
    this.idle.delete(entry.key);
    this.entries.delete(entry.key);
    entry.refers = [];
    entry.pending = null;
    this.references.update(entry);
    this.fx.onForgotten(entry.key);
    this.fx.onDirty();
  }
}
