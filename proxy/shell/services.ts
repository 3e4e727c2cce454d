import type { Random } from "#api/clock.ts";
import { type Endpoint, LoadBalancer, type UpstreamCluster } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { CompiledService } from "#mesh/decide/compile.ts";
import { DEFAULT_BUDGET } from "#mesh/decide/retry.ts";
import { RetryBudget } from "#mesh/decide/retry-budget.ts";
import { SplitSequence } from "#mesh/decide/split.ts";
import { PeakEwmaPicker, type Picker, RoundRobinPicker } from "../balance/picker.ts";
import type { DocumentStore, EndpointSet, ServiceSnapshot } from "../control/documents.ts";
import { type OutboundCluster, OutboundDirector, type OutboundService } from "../stack/outbound.ts";
import type { OutboundDeps } from "../stack/outbound.ts";
import { OutboundRequestMetrics } from "../telemetry/requests.ts";
import type { Registry } from "../telemetry/metrics.ts";
import { type EndpointDeps, LiveEndpoint } from "./endpoints.ts";

/** Used when a document says nothing; the planner always does. */
const CONNECT_TIMEOUT_MS = 1_000;
const IDLE_TIMEOUT_MS = 3_600_000;

export interface ServiceDeps {
  readonly documents: DocumentStore;
  readonly registry: Registry;
  readonly endpoint: EndpointDeps;
  readonly outbound: OutboundDeps;
  readonly random: Random;
  nowMs(): number;
}

interface LiveCluster extends OutboundCluster {
  readonly definition: UpstreamCluster;
  endpoints: readonly LiveEndpoint[];
}

/** A service in use: its director, and what outlives a new version of its document. */
export class LiveService {
  readonly director: OutboundDirector;
  readonly snapshot: ServiceSnapshot;
  readonly clusters: readonly LiveCluster[];

  constructor(director: OutboundDirector, snapshot: ServiceSnapshot, clusters: readonly LiveCluster[]) {
    this.director = director;
    this.snapshot = snapshot;
    this.clusters = clusters;
  }
}

/**
 * Turns documents in force into what requests use. A new version of a service keeps its pickers, budget
 * and split points where what they depend on is unchanged; endpoints keep load and connections as long as they exist.
 */
export class ServiceTable {
  private readonly deps: ServiceDeps;
  private readonly live = new Map<string, LiveService>();
  /** By endpoints document: by "address:port|id|settings". */
  private readonly endpoints = new Map<string, Map<string, LiveEndpoint>>();

  constructor(deps: ServiceDeps) {
    this.deps = deps;
    deps.documents.onService((key, snapshot) => this.serviceChanged(key, snapshot));
    deps.documents.onEndpoints((key, set) => this.endpointsChanged(key, set));
    deps.documents.onForgotten((key) => this.forget(key));
  }

  /** The service in force; null: there is none; undefined: not known yet. Marks it as used. */
  get(key: string): LiveService | null | undefined {
    const snapshot = this.deps.documents.service(key);
    if (snapshot === null || snapshot === undefined) return snapshot;
    const live = this.live.get(key);
    return live !== undefined && live.snapshot === snapshot ? live : this.serviceChanged(key, snapshot);
  }

  /** Waits at most `waitMs` on first use. */
  when(key: string, waitMs: number, f: (service: LiveService | null | undefined) => void): () => void {
    return this.deps.documents.whenService(key, waitMs, (snapshot) => f(snapshot ? (this.get(key) ?? null) : snapshot));
  }

  /** For /config: what is in force, with the load of each endpoint. */
  describe(): unknown {
    const now = this.deps.nowMs();
    return [...this.live].map(([key, { snapshot, clusters, director }]) => ({
      key,
      version: snapshot.version,
      retryBudget: director.service.budget.state(),
      clusters: clusters.map((c) => ({
        name: c.name,
        endpoints: c.endpoints.map((e) => ({
          name: e.name,
          ready: e.ready,
          spiffeId: e.spiffeId,
          inFlight: e.load.inFlight,
          ewmaMs: e.load.estimate(now),
        })),
      })),
    }));
  }

  retireOld(version: number): void {
    for (const byName of this.endpoints.values()) for (const e of byName.values()) e.retireOld(version);
  }

  private serviceChanged(key: string, snapshot: ServiceSnapshot | null): LiveService | null {
    const old = this.live.get(key);
    if (snapshot === null) {
      // Connections that still hold its director learn that nothing answers there any more.
      for (const cluster of old?.clusters ?? []) cluster.endpoints = [];
      this.live.delete(key);
      this.sweep();
      return null;
    }
    const compiled = snapshot.service;
    const clusters = compiled.clusters.map((definition) => this.cluster(definition, old));
    const service = this.assemble(compiled, clusters, old);
    let director = old?.director;
    if (director === undefined) {
      const { namespace, name, port } = compiled.document;
      director = new OutboundDirector(
        service,
        new OutboundRequestMetrics(this.deps.registry, `${name}.${namespace}`, port),
        this.deps.outbound,
      );
    } else {
      director.service = service;
    }
    const live = new LiveService(director, snapshot, clusters);
    this.live.set(key, live);
    this.sweep();
    return live;
  }

  private assemble(compiled: CompiledService, clusters: readonly LiveCluster[], old: LiveService | undefined): OutboundService {
    const now = this.deps.nowMs();
    // One budget a service: the most generous of its routes' limits, so that no route starves another.
    const limits = compiled.routes.reduce(
      (a, r) => ({ percent: Math.max(a.percent, r.budget.percent), minPerSecond: Math.max(a.minPerSecond, r.budget.minPerSecond) }),
      {
        percent: 0,
        minPerSecond: 0,
      },
    );
    const budget = new RetryBudget(compiled.routes.length === 0 ? DEFAULT_BUDGET : limits, now, old?.director.service.budget.state());
    const splits = compiled.routes.map((_, i) => old?.director.service.splits[i] ?? new SplitSequence(this.deps.random()));
    return { compiled, clusters, budget, splits };
  }

  private cluster(definition: UpstreamCluster, old: LiveService | undefined): LiveCluster {
    const before = old?.clusters.find(
      (c) => c.definition.name === definition.name && c.definition.loadBalancer === definition.loadBalancer,
    );
    const set = this.deps.documents.endpoints(definition.endpoints);
    return {
      definition,
      name: definition.name,
      subset: definition.subset,
      picker: before?.picker ?? pickerOf(definition.loadBalancer),
      endpoints: this.endpointsOf(definition, set?.list ?? []),
    };
  }

  private endpointsOf(definition: UpstreamCluster, list: readonly Endpoint[]): LiveEndpoint[] {
    let byName = this.endpoints.get(definition.endpoints);
    if (byName === undefined) {
      byName = new Map();
      this.endpoints.set(definition.endpoints, byName);
    }
    const settings = {
      service: definition.endpoints,
      connectTimeoutMs: definition.connectTimeoutMs || CONNECT_TIMEOUT_MS,
      idleTimeoutMs: definition.idleTimeoutMs || IDLE_TIMEOUT_MS,
    };
    const out: LiveEndpoint[] = [];
    for (const e of list) {
      if (definition.subset !== "" && !e.subsets.includes(definition.subset)) continue;
      // The id is part of the key: a connection made to one identity never serves another.
      const key = `${e.address}:${e.port}|${e.spiffeId}|${settings.connectTimeoutMs}|${settings.idleTimeoutMs}`;
      let live = byName.get(key);
      if (live === undefined) {
        live = new LiveEndpoint(e, settings, this.deps.endpoint);
        byName.set(key, live);
      } else {
        live.endpoint = e;
      }
      out.push(live);
    }
    return out;
  }

  private endpointsChanged(key: string, set: EndpointSet): void {
    for (const service of this.live.values()) {
      for (const cluster of service.clusters)
        if (cluster.definition.endpoints === key) cluster.endpoints = this.endpointsOf(cluster.definition, set.list);
    }
    this.sweep(key);
  }

  private forget(key: string): void {
    this.live.delete(key);
    this.sweep();
  }

  /** Closes endpoints that no cluster has any more. */
  private sweep(only?: string): void {
    const used = new Set<LiveEndpoint>();
    for (const service of this.live.values()) for (const cluster of service.clusters) for (const e of cluster.endpoints) used.add(e);
    for (const [key, byName] of this.endpoints) {
      if (only !== undefined && key !== only) continue;
      for (const [name, e] of byName) {
        if (used.has(e)) continue;
        byName.delete(name);
        e.close();
      }
      if (byName.size === 0) this.endpoints.delete(key);
    }
  }
}

function pickerOf(algorithm: LoadBalancer): Picker {
  return algorithm === LoadBalancer.ROUND_ROBIN ? new RoundRobinPicker() : new PeakEwmaPicker();
}
