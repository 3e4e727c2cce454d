import type { KubeObject, Service } from "#api/resources/kube.ts";
import type { AddressPool } from "./addresses.ts";
import { objectKey } from "./keys.ts";
import { withReachableTargets } from "./ports.ts";
import type { ObjectStore } from "./store.ts";

/** Takes what the folder says into the store, pods apart, and gives Services their addresses. */
export class Admission {
  /** What the folder said last, by kind and name: the very objects, so that a file that did not change costs nothing. */
  private manifests = new Map<string, KubeObject>();
  private readonly store: ObjectStore;
  private readonly pool: AddressPool;

  constructor(store: ObjectStore, pool: AddressPool) {
    this.store = store;
    this.pool = pool;
  }

  /** Replaces everything. Returns how many objects changed. */
  take(objects: readonly KubeObject[]): number {
    let changed = 0;
    const unsubscribe = this.store.subscribe(() => changed++);
    const before = this.manifests;
    this.manifests = new Map(objects.map((object) => [objectKey(object), object]));
    // What is gone first: others may need its addresses.
    for (const [key, object] of before) if (!this.manifests.has(key)) this.withdraw(object);
    for (const [key, object] of this.manifests) {
      if (before.get(key) === object && !this.lacksAddress(object)) continue;
      this.store.apply(object.kind === "Service" ? this.admitService(object as Service) : object);
    }
    unsubscribe();
    return changed;
  }

  private withdraw(object: KubeObject): void {
    const { namespace = "", name } = object.metadata;
    if (object.kind === "Service") this.giveBack(namespace, name);
    this.store.remove(object.kind, namespace, name);
  }

  /** ClusterIPs are of this run: what the manifest says belongs to a cluster. Headless stays headless. */
  private admitService(service: Service): Service {
    const { namespace = "", name } = service.metadata;
    const { clusterIP: written, ...spec } = withReachableTargets(service).spec;
    if (!needsAddress(service)) {
      this.giveBack(namespace, name);
      return { ...service, spec: written === undefined ? spec : { ...spec, clusterIP: written } };
    }
    const clusterIP = this.addressOf(namespace, name) ?? this.pool.take();
    return { ...service, spec: clusterIP === null ? spec : { ...spec, clusterIP } };
  }

  /** A Service that got none when there was none left. */
  private lacksAddress(object: KubeObject): boolean {
    const { namespace = "", name } = object.metadata;
    return object.kind === "Service" && needsAddress(object as Service) && this.addressOf(namespace, name) === null;
  }

  /** The address that the stored Service has from us. */
  private addressOf(namespace: string, name: string): string | null {
    const stored = this.store.get("Service", namespace, name) as Service | undefined;
    return stored !== undefined && needsAddress(stored) ? (stored.spec.clusterIP ?? null) : null;
  }

  private giveBack(namespace: string, name: string): void {
    const address = this.addressOf(namespace, name);
    if (address !== null) this.pool.giveBack(address);
  }
}

function needsAddress({ spec }: Service): boolean {
  return spec.clusterIP !== "None" && spec.type !== "ExternalName";
}
