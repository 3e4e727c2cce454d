import { create } from "@bufbuild/protobuf";
import {
  type Backend,
  BackendSchema,
  LoadBalancer,
  Protocol,
  type Route,
  ServiceSchema,
  type UpstreamCluster,
  UpstreamClusterSchema,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Feature } from "#api/ports.ts";
import { TRAFFIC_POLICY_DEFAULTS } from "#api/resources/defaults.ts";
import type { TrafficPolicyRoute } from "#api/resources/route.ts";
import { policyFor } from "./attach.ts";
import { BackendResolver, isResolved, type Resolved } from "./backends.ts";
import { Newest, type PlannedDocument } from "./documents.ts";
import { endpointsKey, serviceKey } from "./keys.ts";
import type { ResourceIndex } from "./resource-index.ts";
import { planRoute, wireIdleMs, wireMs } from "./routes.ts";

/** How one port of a Service is called: routes and upstream clusters. Null when there is no such Service or port. */
export function planService(index: ResourceIndex, key: string, port: number): PlannedDocument | null {
  const service = index.services.get(key);
  const servicePort = service?.ports.find((candidate) => candidate.port === port);
  if (service === undefined || servicePort === undefined) return null;
  const documentKey = serviceKey(key, port);
  const newest = new Newest(index.revisionOf(documentKey));
  newest.see(service);
  const policy = policyFor(index, service, servicePort.name);
  const clusters = new Clusters(index);
  clusters.number({ service, port, subset: "" });
  let routes: Route[] = [];
  if (policy !== null) {
    newest.see(policy.entry);
    if (servicePort.http) {
      const resolver = new BackendResolver(index, service, policy.spec, policy.entry.namespace, newest);
      routes = (policy.spec.routes ?? []).map((route, position) =>
        planRoute(route, position, planBackends(route, port, resolver, clusters)),
      );
    }
  }
  const body = create(ServiceSchema, {
    namespace: service.namespace,
    name: service.name,
    port,
    protocol: servicePort.http ? Protocol.HTTP : Protocol.TCP,
    routes,
    clusters: clusters.list,
    policy: policy === null ? "" : `TrafficPolicy ${policy.entry.key}`,
  });
  return { key: documentKey, resourceVersion: newest.value, requires: featuresOf(routes, clusters.list), body };
}

function planBackends(route: TrafficPolicyRoute, port: number, resolver: BackendResolver, clusters: Clusters): Backend[] {
  const refs = route.backendRefs ?? [];
  if (refs.length === 0) return [create(BackendSchema, { cluster: 0, weight: 1 })];
  const weights = refs.map((ref) => ref.weight ?? TRAFFIC_POLICY_DEFAULTS.route.backendRef.weight);
  // Gateway API: where all weights are 0 no backend is meant, and requests are answered 500.
  if (weights.every((weight) => weight === 0)) return [create(BackendSchema, { cluster: 0, weight: 1, unresolved: true })];
  return refs.map((ref, position) => {
    const weight = weights[position] ?? 0;
    const result = resolver.resolve(ref, port);
    return isResolved(result)
      ? create(BackendSchema, { cluster: clusters.number(result), weight })
      : create(BackendSchema, { cluster: 0, weight, unresolved: true });
  });
}

/** The document's upstream clusters, each once; 0 is the Service itself. */
class Clusters {
  readonly list: UpstreamCluster[] = [];
  readonly #index: ResourceIndex;
  readonly #numbers = new Map<string, number>();

  constructor(index: ResourceIndex) {
    this.#index = index;
  }

  number(target: Resolved): number {
    const { service, port, subset } = target;
    const name = `${service.key}:${port}${subset === "" ? "" : `/${subset}`}`;
    const known = this.#numbers.get(name);
    if (known !== undefined) return known;
    this.#numbers.set(name, this.list.length);
    return this.list.push(this.#plan(name, target)) - 1;
  }

  /** Settings are those of the policy of the Service that is called, whoever sends there. Its routes are not entered again. */
  #plan(name: string, { service, port, subset }: Resolved): UpstreamCluster {
    const portName = service.ports.find((candidate) => candidate.port === port)?.name ?? "";
    const spec = policyFor(this.#index, service, portName)?.spec;
    const defaults = TRAFFIC_POLICY_DEFAULTS;
    const algorithm = spec?.loadBalancer?.algorithm ?? defaults.loadBalancer.algorithm;
    return create(UpstreamClusterSchema, {
      name,
      endpoints: endpointsKey(service.key, port),
      subset,
      loadBalancer: algorithm === "RoundRobin" ? LoadBalancer.ROUND_ROBIN : LoadBalancer.PEAK_EWMA,
      connectTimeoutMs: wireMs(spec?.connections?.connectTimeout, defaults.connections.connectTimeout),
      idleTimeoutMs: wireIdleMs(spec?.connections?.idleTimeout, defaults.connections.idleTimeout),
    });
  }
}

function featuresOf(routes: readonly Route[], clusters: readonly UpstreamCluster[]): Feature[] {
  const features: Feature[] = [];
  if (routes.some((route) => route.faults !== undefined)) features.push("faults");
  if (routes.some((route) => route.filters.length > 0)) features.push("header-filters");
  if (routes.some((route) => route.retry !== undefined)) features.push("retry");
  if (routes.length > 0) features.push("routes");
  if (clusters.some((cluster) => cluster.subset !== "")) features.push("subsets");
  return features;
}
