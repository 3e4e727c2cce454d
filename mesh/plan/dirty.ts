import { type Facts, type PodFacts, type ServiceFacts, selects } from "./facts.ts";
import { endpointsKey, objectKey, serviceKey, workloadKey } from "./keys.ts";
import { type Kind, MESH } from "./kinds.ts";
import type { ResourceIndex } from "./resource-index.ts";
import { targetsOf } from "./attach.ts";

/** What a change may have altered. Planning one of these again and finding it unchanged is normal. */
export interface DirtyKeys {
  /** Keys of documents, of those that are gone too. */
  readonly documents: Set<string>;
  /** "kind/namespace/name" of objects whose status to plan again. */
  readonly statuses: Set<string>;
  /** Keys of `ResourceIndex.lastGood` that have a new value or none any more. */
  readonly accepted: Set<string>;
  /** `planMesh` may answer something else. */
  mesh: boolean;
}

export function noneDirty(): DirtyKeys {
  return { documents: new Set(), statuses: new Set(), accepted: new Set(), mesh: false };
}

export function allDirty(index: ResourceIndex): DirtyKeys {
  const dirty = noneDirty();
  dirty.mesh = true;
  for (const service of index.services.values()) documentsOf(service, dirty);
  for (const pod of index.pods.values()) dirty.documents.add(workloadKey(pod.key));
  for (const table of [index.traffic, index.identities]) {
    for (const entry of table.values()) dirty.statuses.add(objectKey(entry.kind, entry.key));
  }
  for (const row of index.refused.values()) dirty.statuses.add(row.key);
  return dirty;
}

/** Adds what depends on the object as the index holds it now. Called before and after a change, so both its old and its new ties count. */
export function touch(index: ResourceIndex, kind: Kind, object: Facts, dirty: DirtyKeys): void {
  const { key } = object;
  if (kind === "Service") touchService(index, key, dirty);
  else if (kind === "TrafficPolicy") touchPolicy(index, key, dirty);
  else if (kind === "MeshIdentity") touchIdentity(index, object, dirty);
  const slice = kind === "EndpointSlice" ? index.slices.get(key) : undefined;
  if (slice !== undefined) touchEndpoints(index, slice.service, dirty);
  const pod = kind === "Pod" ? index.pods.get(key) : undefined;
  if (pod !== undefined) touchPod(index, pod, dirty);
}

function touchService(index: ResourceIndex, key: string, dirty: DirtyKeys): void {
  const service = index.services.get(key);
  if (service !== undefined) {
    documentsOf(service, dirty);
    for (const pod of index.podsSelectedBy(service)) dirty.documents.add(workloadKey(pod.key));
  }
  touchPoliciesAround(index, key, dirty);
}

/** Who is behind a Service has changed: its endpoints, and whether subsets of it select anything. */
function touchEndpoints(index: ResourceIndex, service: string, dirty: DirtyKeys): void {
  for (const port of index.services.get(service)?.ports ?? []) dirty.documents.add(endpointsKey(service, port.port));
  const policies = [...index.traffic.at(index.policiesOfTarget, service)];
  if (!policies.some((policy) => hasSubsets(policy.current) || hasSubsets(policy.lastGood))) return;
  for (const port of index.services.get(service)?.ports ?? []) dirty.documents.add(serviceKey(service, port.port));
  touchPoliciesAround(index, service, dirty);
}

function hasSubsets(spec: { readonly subsets?: readonly unknown[] } | null): boolean {
  return (spec?.subsets?.length ?? 0) > 0;
}

function touchPod(index: ResourceIndex, pod: PodFacts, dirty: DirtyKeys): void {
  dirty.documents.add(workloadKey(pod.key));
  const services = servicesBehind(index, pod);
  for (const service of index.servicesSelecting(pod)) services.add(service.key);
  for (const service of services) touchEndpoints(index, service, dirty);
}

/** A pod that comes, goes or is labelled anew changes which workloads carry MeshIdentities; its readiness does not. */
export function touchCarriers(index: ResourceIndex, before: PodFacts | undefined, after: PodFacts | undefined, dirty: DirtyKeys): void {
  const pod = after ?? before;
  if (pod === undefined) return;
  if (before?.meshed === after?.meshed && before !== undefined && after !== undefined && sameLabels(before, after)) return;
  for (const key of index.identitiesInNamespace.get(pod.namespace)) dirty.statuses.add(objectKey("MeshIdentity", key));
  if (index.identities.get(MESH) !== undefined) dirty.statuses.add(objectKey("MeshIdentity", MESH));
}

function sameLabels(a: PodFacts, b: PodFacts): boolean {
  return a.labels.size === b.labels.size && selects(a.labels, b.labels);
}

/** Keys of the Services whose slices name the pod or its address. */
function servicesBehind(index: ResourceIndex, pod: PodFacts): Set<string> {
  const services = new Set<string>();
  for (const slice of index.slices.at(index.slicesOfPod, pod.key)) services.add(slice.service);
  for (const slice of index.slices.at(index.slicesAtAddress, pod.address)) services.add(slice.service);
  return services;
}

function touchPolicy(index: ResourceIndex, key: string, dirty: DirtyKeys): void {
  const entry = index.traffic.get(key);
  dirty.statuses.add(objectKey("TrafficPolicy", key));
  for (const spec of [entry?.current ?? null, entry?.lastGood ?? null]) {
    for (const target of targetsOf(spec, entry?.namespace ?? "")) {
      const service = index.services.get(target.service);
      if (service !== undefined) documentsOf(service, dirty);
      touchPoliciesAround(index, target.service, dirty);
    }
  }
}

/** Policies attached to the Service, and policies that send to it together with the Services they steer. */
function touchPoliciesAround(index: ResourceIndex, service: string, dirty: DirtyKeys): void {
  for (const policy of index.policiesOfTarget.get(service)) dirty.statuses.add(objectKey("TrafficPolicy", policy));
  for (const policy of index.traffic.at(index.policiesOfBackend, service)) {
    dirty.statuses.add(objectKey("TrafficPolicy", policy.key));
    for (const spec of [policy.current, policy.lastGood]) {
      for (const target of targetsOf(spec, policy.namespace)) {
        for (const port of index.services.get(target.service)?.ports ?? []) dirty.documents.add(serviceKey(target.service, port.port));
      }
    }
  }
}

function touchIdentity(index: ResourceIndex, object: Facts, dirty: DirtyKeys): void {
  dirty.statuses.add(objectKey("MeshIdentity", object.key));
  if (object.key === MESH) {
    // The trust domain stands in every id, and the mesh's mode is everybody's default.
    const all = allDirty(index);
    for (const key of all.documents) dirty.documents.add(key);
    for (const entry of index.identities.values()) dirty.statuses.add(objectKey(entry.kind, entry.key));
    dirty.mesh = true;
    return;
  }
  for (const key of index.identitiesInNamespace.get(object.namespace)) dirty.statuses.add(objectKey("MeshIdentity", key));
  for (const pod of index.pods.at(index.podsInNamespace, object.namespace)) {
    dirty.documents.add(workloadKey(pod.key));
    for (const service of servicesBehind(index, pod)) {
      for (const port of index.services.get(service)?.ports ?? []) dirty.documents.add(endpointsKey(service, port.port));
    }
  }
}

function documentsOf(service: ServiceFacts, dirty: DirtyKeys): void {
  for (const { port } of service.ports) {
    dirty.documents.add(serviceKey(service.key, port));
    dirty.documents.add(endpointsKey(service.key, port));
  }
}
