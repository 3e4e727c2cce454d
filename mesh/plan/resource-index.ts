import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import { acceptTouched } from "./accept.ts";
import { backendsOf, targetsOf } from "./attach.ts";
import { allDirty, type DirtyKeys, noneDirty, touch, touchCarriers } from "./dirty.ts";
import { type Entry, readEntry, withLastGood } from "./entry.ts";
import {
  type Facts,
  type PodFacts,
  readMeta,
  readPod,
  readService,
  readSlice,
  revision,
  type ServiceFacts,
  type SliceFacts,
  selects,
} from "./facts.ts";
import { objectKey, parseDocumentKey, splitObjectKey } from "./keys.ts";
import { type Kind, kindOf, MESH, type MeshIdentitySpec, type TrafficPolicySpec } from "./kinds.ts";
import { Multimap } from "./multimap.ts";
import { byteOrder } from "./order.ts";
import { type Lookup, Table } from "./table.ts";

const MESH_OBJECT = objectKey("MeshIdentity", MESH);
/** Most removed documents whose revision is remembered: pods come and go under ever new names. */
const GONE_MAX = 10_000;

/**
 * Everything the planner knows, indexed both ways. Levels, not edges: the same object may be applied twice.
 * What is planned from it depends on what it holds, never on the order in which that came; only `revisionOf`
 * remembers.
 */
export class ResourceIndex {
  /** "kind/namespace/name" → last accepted generation. `apply` keeps it; store it, so that it survives a restart. */
  readonly lastGood = new Map<string, KubeObject>();

  readonly servicesWithLabel = new Multimap<string>();
  readonly podsWithLabel = new Multimap<string>();
  readonly podsAtAddress = new Multimap<string>();
  readonly podsInNamespace = new Multimap<string>();
  readonly slicesOfService = new Multimap<string>();
  readonly slicesOfPod = new Multimap<string>();
  readonly slicesAtAddress = new Multimap<string>();
  readonly policiesOfTarget = new Multimap<string>();
  readonly policiesOfBackend = new Multimap<string>();
  readonly identitiesInNamespace = new Multimap<string>();

  readonly services = new Table<ServiceFacts>((row) => this.#serviceLookups(row));
  readonly pods = new Table<PodFacts>((row) => this.#podLookups(row));
  readonly slices = new Table<SliceFacts>((row) => this.#sliceLookups(row));
  readonly traffic = new Table<Entry<TrafficPolicySpec>>((row) => this.#trafficLookups(row));
  readonly identities = new Table<Entry<MeshIdentitySpec>>((row) => [[this.identitiesInNamespace, row.namespace]]);
  /** Kinds that are refused whole. Keys are "kind/namespace/name". */
  readonly refused = new Table<{ readonly key: string; readonly entry: Entry<never> }>(() => []);

  readonly #revisions = new Map<string, bigint>();
  /** Documents that no longer exist, the longest gone first. */
  readonly #gone = new Set<string>();
  #floor = 0n;

  /** Applies one change and says what it touches. What is of no interest, or has no usable name, touches nothing. */
  apply(change: Change): DirtyKeys {
    const dirty = noneDirty();
    const kind = kindOf(change.object);
    const meta = readMeta(change.object);
    if (kind === null || meta === null) return dirty;
    const pod = this.pods.get(meta.key);
    touch(this, kind, meta, dirty);
    if (kind === "refused") dirty.statuses.add(objectKey(change.object.kind, meta.key));
    if (change.type === "applied") {
      this.#put(kind, meta, change.object);
    } else {
      this.#delete(kind, meta.key, change.object);
      const status = objectKey(change.object.kind, meta.key);
      // The mesh's trust domain outlives its object; whatever else is deleted is forgotten.
      if (status !== MESH_OBJECT && this.lastGood.delete(status)) dirty.accepted.add(status);
    }
    touch(this, kind, meta, dirty);
    if (kind === "Pod") touchCarriers(this, pod, this.pods.get(meta.key), dirty);
    acceptTouched(this, dirty);
    for (const key of dirty.documents) this.#raise(key, meta.resourceVersion);
    return dirty;
  }

  /**
   * Takes a whole listing (first sync, or after a lost connection): what is not in it is gone, everything is dirty.
   * `lastGood` is what was stored before a restart; without it, what the index itself remembers. `listRevision` is the
   * store's own revision of the listing if it has one: no document is older than that.
   */
  replace(objects: readonly KubeObject[], options: { lastGood?: ReadonlyMap<string, KubeObject>; listRevision?: string } = {}): DirtyKeys {
    const before = allDirty(this);
    this.#clear(options.lastGood ?? new Map(this.lastGood));
    let newest = revision(options.listRevision);
    if (newest > this.#floor) this.#floor = newest;
    for (const object of objects) {
      const kind = kindOf(object);
      const meta = readMeta(object);
      if (kind === null || meta === null) continue;
      if (meta.resourceVersion > newest) newest = meta.resourceVersion;
      this.#put(kind, meta, object);
    }
    for (const key of [...this.lastGood.keys()]) if (!this.#isKnown(key)) this.lastGood.delete(key);
    const dirty = allDirty(this);
    acceptTouched(this, dirty);
    // A deletion that was missed has no revision that we know; the newest in the listing is the best there is.
    for (const key of before.documents) {
      dirty.documents.add(key);
      this.#raise(key, newest);
    }
    for (const key of before.statuses) dirty.statuses.add(key);
    return dirty;
  }

  /** Lowest revision a document may carry: that of the newest change that touched it, deletions included. */
  revisionOf(documentKey: string): bigint {
    const own = this.#revisions.get(documentKey) ?? 0n;
    return own > this.#floor ? own : this.#floor;
  }

  /** For `accept.ts`: from now on this is the last good generation. */
  setLastGood(key: string, object: KubeObject): void {
    this.lastGood.set(key, object);
    const [kind, name] = splitObjectKey(key);
    const traffic = kind === "TrafficPolicy" ? this.traffic.get(name) : undefined;
    const identity = kind === "MeshIdentity" ? this.identities.get(name) : undefined;
    if (traffic !== undefined) this.traffic.set(withLastGood(traffic, object));
    if (identity !== undefined) this.identities.set(withLastGood(identity, object));
  }

  podsSelectedBy(service: ServiceFacts): PodFacts[] {
    const selector = service.selector;
    const [first] = selector ?? [];
    if (selector === null || first === undefined) return [];
    const candidates = this.pods.at(this.podsWithLabel, labelKey(service, first));
    return [...candidates].filter((pod) => selects(selector, pod.labels));
  }

  servicesSelecting(pod: PodFacts): ServiceFacts[] {
    const services: ServiceFacts[] = [];
    for (const label of pod.labels) {
      for (const service of this.services.at(this.servicesWithLabel, labelKey(pod, label))) {
        if (service.selector !== null && selects(service.selector, pod.labels)) services.push(service);
      }
    }
    return services;
  }

  /** The pod that has the address now. Null when several do (host network): then the address does not say who answers. */
  podAt(address: string): PodFacts | null {
    const [pod, second] = [...this.pods.at(this.podsAtAddress, address)].filter((candidate) => !candidate.gone);
    return second === undefined ? (pod ?? null) : null;
  }

  /** In the order of their names. */
  slicesOf(service: string): SliceFacts[] {
    return [...this.slices.at(this.slicesOfService, service)].sort((a, b) => byteOrder(a.key, b.key));
  }

  #put(kind: Kind, meta: Facts, object: KubeObject): void {
    const lastGood = this.lastGood.get(objectKey(object.kind, meta.key)) ?? null;
    switch (kind) {
      case "Service":
        setOrDelete(this.services, meta.key, readService(object));
        break;
      case "Pod":
        setOrDelete(this.pods, meta.key, readPod(object));
        break;
      case "EndpointSlice":
        setOrDelete(this.slices, meta.key, readSlice(object));
        break;
      case "TrafficPolicy":
        setOrDelete(this.traffic, meta.key, readEntry<TrafficPolicySpec>(object, lastGood));
        break;
      case "MeshIdentity":
        setOrDelete(this.identities, meta.key, readEntry<MeshIdentitySpec>(object, lastGood));
        break;
      case "refused": {
        const key = objectKey(object.kind, meta.key);
        const entry = readEntry<never>(object, null);
        setOrDelete(this.refused, key, entry === null ? null : { key, entry });
        break;
      }
    }
  }

  #delete(kind: Kind, key: string, object: KubeObject): void {
    const tables = {
      Service: this.services,
      Pod: this.pods,
      EndpointSlice: this.slices,
      TrafficPolicy: this.traffic,
      MeshIdentity: this.identities,
    };
    if (kind === "refused") this.refused.delete(objectKey(object.kind, key));
    else tables[kind].delete(key);
  }

  /** True for the key of a policy that exists, and for the mesh's: its trust domain outlives the object. */
  #isKnown(objectKeyOfPolicy: string): boolean {
    const [kind, key] = splitObjectKey(objectKeyOfPolicy);
    if (kind === "TrafficPolicy") return this.traffic.get(key) !== undefined;
    return objectKeyOfPolicy === MESH_OBJECT || (kind === "MeshIdentity" && this.identities.get(key) !== undefined);
  }

  #clear(lastGood: ReadonlyMap<string, KubeObject>): void {
    const kept = new Map(lastGood);
    for (const table of [this.services, this.pods, this.slices, this.traffic, this.identities, this.refused]) table.clear();
    this.lastGood.clear();
    for (const [key, object] of kept) this.lastGood.set(key, object);
  }

  #raise(documentKey: string, to: bigint): void {
    if (to > (this.#revisions.get(documentKey) ?? 0n)) this.#revisions.set(documentKey, to);
    if (this.#exists(documentKey)) this.#gone.delete(documentKey);
    else this.#gone.add(documentKey);
    // Whatever comes back under its name does so with a higher revision, so the oldest may be forgotten.
    for (const oldest of this.#gone) {
      if (this.#gone.size <= GONE_MAX) break;
      this.#gone.delete(oldest);
      this.#revisions.delete(oldest);
    }
  }

  #exists(documentKey: string): boolean {
    const ref = parseDocumentKey(documentKey);
    if (ref?.type === "workload") return this.pods.get(ref.key) !== undefined;
    return this.services.get(ref?.key ?? "")?.ports.some(({ port }) => port === ref?.port) === true;
  }

  *#serviceLookups(service: ServiceFacts): Iterable<Lookup> {
    const [first] = service.selector ?? [];
    if (first !== undefined) yield [this.servicesWithLabel, labelKey(service, first)];
  }

  *#podLookups(pod: PodFacts): Iterable<Lookup> {
    yield [this.podsInNamespace, pod.namespace];
    if (pod.address !== "") yield [this.podsAtAddress, pod.address];
    for (const label of pod.labels) yield [this.podsWithLabel, labelKey(pod, label)];
  }

  *#sliceLookups(slice: SliceFacts): Iterable<Lookup> {
    yield [this.slicesOfService, slice.service];
    for (const endpoint of slice.endpoints) {
      yield [this.slicesAtAddress, endpoint.address];
      if (endpoint.pod !== "") yield [this.slicesOfPod, endpoint.pod];
    }
  }

  *#trafficLookups(entry: Entry<TrafficPolicySpec>): Iterable<Lookup> {
    for (const spec of [entry.current, entry.lastGood]) {
      for (const target of targetsOf(spec, entry.namespace)) yield [this.policiesOfTarget, target.service];
      for (const service of backendsOf(spec, entry.namespace)) yield [this.policiesOfBackend, service];
    }
  }
}

function setOrDelete<Row extends { readonly key: string }>(table: Table<Row>, key: string, row: Row | null): void {
  if (row === null) table.delete(key);
  else table.set(row);
}

function labelKey(of: { readonly namespace: string }, [name, value]: readonly [string, string]): string {
  return `${of.namespace}/${name}=${value}`;
}
