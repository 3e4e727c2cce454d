import { join } from "node:path";
import type { Clock } from "#api/clock.ts";
import type { Service, Trust, Workload } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { FEATURES } from "#api/ports.ts";
import { workloadId } from "#api/spiffe.ts";
import type { CompiledService } from "#mesh/decide/compile.ts";
import { certificates } from "../identity/client.ts";
import { readStateFile, writeStateFile, writeStateFileSync } from "../identity/state-file.ts";
import type { Registry } from "../telemetry/metrics.ts";
import type { EndpointSet } from "./endpoints.ts";
import type { ServiceSnapshot } from "./entry.ts";
import { type Kind, workloadKey } from "./keys.ts";
import { decodeLastGood, encodeLastGood, LAST_GOOD_BYTES_MAX } from "./last-good.ts";
import { DiscoverySession, type DocumentState } from "./session.ts";

export type { EndpointSet } from "./endpoints.ts";
export type { ServiceSnapshot } from "./entry.ts";

export interface DocumentStoreOptions {
  readonly workload: { readonly namespace: string; readonly pod: string; readonly serviceAccount: string };
  readonly trustDomain: string;
  readonly proxyVersion: string;
  /** Folder, owner-only, that outlives the process. */
  readonly stateDir: string;
  readonly clock: Clock;
  /** `compileService` of mesh/decide. Throws when the document means nothing. */
  readonly compile: (service: Service) => CompiledService;
  readonly registry?: Registry;
  /** The last-good file could not be written; the documents are in force all the same. */
  readonly onWriteFailed?: (error: unknown) => void;
}

const FILE = "last-good";
const TICK_MS = 60_000;
/** From the first change to its write. Changes come in bursts. */
const WRITE_DELAY_MS = 1_000;

type Waiter = (snapshot: ServiceSnapshot | null | undefined) => void;

/**
 * The documents in force in this proxy: the only mutable configuration. Asking for a service subscribes to it, using it keeps
 * it subscribed. All of it outlives a loss of the operator, and in a file a restart of the proxy.
 *
 * Listeners are called synchronously when a document is in force, and must not throw.
 */
export class DocumentStore {
  /** For the DiscoveryClient alone. */
  readonly session: DiscoverySession;
  private readonly options: DocumentStoreOptions;
  private readonly workloadListeners = new Set<(w: Workload) => void>();
  private readonly trustListeners = new Set<(t: Trust) => void>();
  private readonly serviceListeners = new Set<(key: string, s: ServiceSnapshot | null) => void>();
  private readonly endpointsListeners = new Set<(key: string, e: EndpointSet) => void>();
  private readonly forgottenListeners = new Set<(key: string) => void>();
  private readonly waiters = new Map<string, Set<Waiter>>();
  private requestsWaiting: () => void = () => {};
  private cancelTick: () => void = () => {};
  private cancelWrite: (() => void) | null = null;
  private writing: Promise<void> | null = null;
  private closed = false;

  constructor(options: DocumentStoreOptions) {
    this.options = options;
    const { workload, trustDomain, proxyVersion, compile } = options;
    this.session = new DiscoverySession(
      {
        pod: workload.pod,
        proxyVersion,
        workloadKey: workloadKey(workload.namespace, workload.pod),
        features: new Set(FEATURES),
        trustDomain,
        spiffeId: workloadId(trustDomain, workload.namespace, workload.serviceAccount),
        rootsReadable: (roots) => certificates(roots) !== null,
        compile,
      },
      {
        onWorkload: (w) => call(this.workloadListeners, w),
        onTrust: (t) => call(this.trustListeners, t),
        onService: (key, snapshot) => this.settle(key, snapshot),
        onEndpoints: (key, endpoints) => call(this.endpointsListeners, key, endpoints),
        onForgotten: (key) => call(this.forgottenListeners, key),
        onOutcome: (kind, outcome) => options.registry?.counter("weft_discovery_applied_total", [kind, outcome]).inc(),
        onDirty: () => this.writeSoon(),
        onRequests: () => this.requestsWaiting(),
      },
    );
    for (const kind of ["workload", "service", "endpoints", "trust"] as const) {
      options.registry?.gaugeFrom("weft_discovery_documents", [kind], () => this.held(kind));
    }
  }

  /** Takes up the last-good file and begins to count idle time. Call once, before the client starts. How many documents it held. */
  start(): number {
    const content = readStateFile(join(this.options.stateDir, FILE), LAST_GOOD_BYTES_MAX);
    const documents = content === null ? [] : decodeLastGood(content);
    this.session.load(documents);
    const tick = (): void => {
      this.cancelTick = this.options.clock.after(TICK_MS, tick);
      this.session.tick();
    };
    this.cancelTick = this.options.clock.after(TICK_MS, tick);
    return documents.length;
  }

  /** Writes what was not written yet and stops. What was asked to wait is told that nothing is known. */
  async close(): Promise<void> {
    this.closed = true;
    this.cancelTick();
    const unwritten = this.cancelWrite !== null || this.writing !== null;
    this.cancelWrite?.();
    this.cancelWrite = null;
    await this.writing;
    if (unwritten) this.writeNow();
    for (const key of [...this.waiters.keys()]) this.answer(key, undefined);
  }

  workload(): Workload | null {
    return this.session.workload();
  }

  /** Also called by `start` for the one on disk. The returned function ends it. */
  onWorkload(f: (workload: Workload) => void): () => void {
    return listen(this.workloadListeners, f);
  }

  trust(): Trust | null {
    return this.session.trust();
  }

  /** Called with what an operator said or confirmed, never with what was only on disk: the roots beside the SVID may be newer. */
  onTrust(f: (trust: Trust) => void): () => void {
    return listen(this.trustListeners, f);
  }

  /**
   * undefined: not (yet) known; null: the operator says there is none. The first call subscribes. Marks it as used. One map
   * look-up when it is known: made to be called per request.
   */
  service(key: string): ServiceSnapshot | null | undefined {
    return this.session.service(key);
  }

  /**
   * Calls back once: when it is in force or known to be absent, or after `waitMs` with what is known then (undefined: nothing).
   * At once, before it returns, when it is known already. The returned function cancels it.
   */
  whenService(key: string, waitMs: number, f: (snapshot: ServiceSnapshot | null | undefined) => void): () => void {
    const known = this.session.service(key);
    if (known !== undefined || this.closed) {
      f(known);
      return () => {};
    }
    const waiters = this.waiters.get(key) ?? new Set();
    this.waiters.set(key, waiters);
    const stop = (): void => {
      cancelTimer();
      waiters.delete(waiter);
      if (waiters.size === 0 && this.waiters.get(key) === waiters) this.waiters.delete(key);
    };
    const waiter: Waiter = (snapshot) => {
      stop();
      f(snapshot);
    };
    const cancelTimer = this.options.clock.after(waitMs, () => {
      this.session.giveUpWaiting(key);
      waiter(this.session.service(key));
    });
    waiters.add(waiter);
    return stop;
  }

  endpoints(key: string): EndpointSet | undefined {
    return this.session.endpoints(key);
  }

  onService(f: (key: string, snapshot: ServiceSnapshot | null) => void): () => void {
    return listen(this.serviceListeners, f);
  }

  onEndpoints(f: (key: string, endpoints: EndpointSet) => void): () => void {
    return listen(this.endpointsListeners, f);
  }

  /** A service or endpoints document was dropped from memory: state kept for it (pools, loads) can go. */
  onForgotten(f: (key: string) => void): () => void {
    return listen(this.forgottenListeners, f);
  }

  /** Keys, versions and states, for /config. */
  describe(): DocumentState[] {
    return [...this.session.describe()];
  }

  /** For the DiscoveryClient alone: told when there are requests to send. */
  onRequests(f: () => void): void {
    this.requestsWaiting = f;
  }

  private held(kind: Kind): number {
    let count = 0;
    for (const state of this.session.describe()) if (state.kind === kind && state.version !== "") count++;
    return count;
  }

  private settle(key: string, snapshot: ServiceSnapshot | null): void {
    call(this.serviceListeners, key, snapshot);
    this.answer(key, snapshot);
  }

  private answer(key: string, snapshot: ServiceSnapshot | null | undefined): void {
    for (const waiter of [...(this.waiters.get(key) ?? [])]) waiter(snapshot);
  }

  private writeSoon(): void {
    if (this.cancelWrite !== null || this.closed) return;
    this.cancelWrite = this.options.clock.after(WRITE_DELAY_MS, () => this.write());
  }

  private write(): void {
    this.cancelWrite = null;
    // Still busy with the last one: another look a moment later.
    if (this.writing !== null) {
      this.writeSoon();
      return;
    }
    this.writing = writeStateFile(join(this.options.stateDir, FILE), encodeLastGood(this.session.lastGood()))
      .catch((error: unknown) => this.options.onWriteFailed?.(error))
      .finally(() => {
        this.writing = null;
      });
  }

  private writeNow(): void {
    try {
      writeStateFileSync(join(this.options.stateDir, FILE), encodeLastGood(this.session.lastGood()));
    } catch (error) {
      this.options.onWriteFailed?.(error);
    }
  }
}

function listen<F>(listeners: Set<F>, f: F): () => void {
  listeners.add(f);
  return () => listeners.delete(f);
}

function call<A extends unknown[]>(listeners: ReadonlySet<(...args: A) => void>, ...args: A): void {
  for (const f of [...listeners]) f(...args);
}
