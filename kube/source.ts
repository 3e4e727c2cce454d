import type { Clock, Random } from "#api/clock.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { ObjectRef, Source, SourceEvents } from "#api/store.ts";
import type { Logger } from "#runtime/logger.ts";
import type { MetricsRegistry } from "#runtime/metrics-server.ts";
import type { KubeClient } from "./client.ts";
import { Reflector } from "./reflector.ts";
import {
  ACCESS_POLICIES,
  apiVersionOf,
  ENDPOINT_SLICES,
  GRPC_ROUTES,
  HTTP_ROUTES,
  MESH_IDENTITIES,
  PODS,
  type Resource,
  SERVICES,
  TRAFFIC_POLICIES,
} from "./resource.ts";
import { strip, stripPod } from "./strip.ts";

export interface Watched {
  readonly resource: Resource;
  /** Whether a cluster without the kind is a whole one. */
  readonly optional: boolean;
  readonly transform: (object: KubeObject) => KubeObject;
}

/**
 * What the operator plans from. Weft's own kinds are required: without its AccessPolicies a mesh would let everything
 * through. Kinds that nobody reads are not asked for, nor granted: zones stand in EndpointSlices, and of namespaces
 * and nodes the planner asks nothing.
 */
export const PLANNED_KINDS: readonly Watched[] = [
  { resource: SERVICES, optional: false, transform: strip },
  { resource: ENDPOINT_SLICES, optional: false, transform: strip },
  { resource: PODS, optional: false, transform: stripPod },
  { resource: TRAFFIC_POLICIES, optional: false, transform: strip },
  { resource: MESH_IDENTITIES, optional: false, transform: strip },
  { resource: ACCESS_POLICIES, optional: false, transform: strip },
  { resource: HTTP_ROUTES, optional: true, transform: strip },
  { resource: GRPC_ROUTES, optional: true, transform: strip },
];

export interface KubeSourceDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** Default: PLANNED_KINDS. */
  readonly kinds?: readonly Watched[];
}

/**
 * The API server as a resource store: `onSync` when all kinds are listed, then every change. A list that had to be
 * read again is told as the changes that it shows, so nothing is planned twice.
 */
export class KubeSource implements Source {
  readonly #kinds: readonly Watched[];
  readonly #reflectors: readonly Reflector[];
  readonly #unreachable = new Set<Resource>();
  #events: SourceEvents | null = null;
  #synced = false;
  #connected: boolean | null = null;

  constructor(deps: KubeSourceDeps) {
    this.#kinds = deps.kinds ?? PLANNED_KINDS;
    this.#reflectors = this.#kinds.map(
      ({ resource, optional, transform }) =>
        new Reflector({
          ...deps,
          resource,
          optional,
          transform,
          handlers: {
            onSync: () => this.#sync(),
            onChange: (change) => {
              if (this.#synced) this.#events?.onChange(change);
            },
            onConnected: (connected) => this.#reachable(resource, connected),
          },
        }),
    );
  }

  start(events: SourceEvents): void {
    if (this.#events !== null) return;
    this.#events = events;
    for (const reflector of this.#reflectors) reflector.start();
  }

  close(): void {
    this.#events = null;
    for (const reflector of this.#reflectors) reflector.stop();
  }

  /** The object as it was last seen. Null: there is none, or its kind is not watched. */
  get({ apiVersion, kind, namespace, name }: ObjectRef): KubeObject | null {
    const at = this.#kinds.findIndex(({ resource }) => resource.kind === kind && apiVersionOf(resource) === apiVersion);
    return this.#reflectors[at]?.get(namespace, name) ?? null;
  }

  #sync(): void {
    if (this.#synced || !this.#reflectors.every((reflector) => reflector.isSynced())) return;
    const objects = this.#reflectors.flatMap((reflector) => [...reflector.objects()]);
    this.#reachable(null, true);
    this.#events?.onSync(objects, newest(this.#reflectors.map(({ resourceVersion }) => resourceVersion)));
    // Only now: if the listener threw, it gets the whole again.
    this.#synced = true;
  }

  #reachable(resource: Resource | null, connected: boolean): void {
    if (resource !== null && connected) this.#unreachable.delete(resource);
    else if (resource !== null) this.#unreachable.add(resource);
    const now = this.#unreachable.size === 0;
    // Nothing is said before all kinds answered or one did not.
    if (now === this.#connected || (now && !this.#reflectors.every((reflector) => reflector.isSynced()))) return;
    this.#connected = now;
    this.#events?.onConnected(now);
  }
}

/** The highest of the revisions; one store of one cluster counts for all kinds. "" when none is a number. */
function newest(revisions: readonly string[]): string {
  const numbers = revisions.filter((revision) => /^\d{1,18}$/.test(revision)).map(BigInt);
  return numbers.reduce((a, b) => (a > b ? a : b), 0n).toString();
}
