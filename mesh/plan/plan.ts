import type { KubeObject } from "#api/resources/kube.ts";
import type { PlannedDocument } from "./documents.ts";
import { planEndpoints } from "./endpoints.ts";
import { endpointsKey, objectKey, parseDocumentKey, serviceKey, splitObjectKey, workloadKey } from "./keys.ts";
import { ResourceIndex } from "./resource-index.ts";
import { planService } from "./service.ts";
import type { PlannedStatus } from "./status.ts";
import { planIdentityStatus, planRefusedStatus } from "./status-others.ts";
import { planTrafficStatus } from "./status-traffic.ts";
import { planWorkload } from "./workload.ts";

export type { DirtyKeys } from "./dirty.ts";
export type { PlannedDocument } from "./documents.ts";
export { type MeshSettings, planMesh } from "./identity.ts";
export { endpointsKey, objectKey, serviceKey, workloadKey } from "./keys.ts";
export { ResourceIndex } from "./resource-index.ts";
export type { PlannedAncestor, PlannedCondition, PlannedStatus } from "./status.ts";
export { type Problem, validate } from "./validate.ts";

/** All that is known, for whoever has no changes to follow. Keys of the maps are not looked at. */
export interface Resources {
  readonly services?: ReadonlyMap<string, KubeObject>;
  readonly pods?: ReadonlyMap<string, KubeObject>;
  readonly endpointSlices?: ReadonlyMap<string, KubeObject>;
  readonly trafficPolicies?: ReadonlyMap<string, KubeObject>;
  readonly meshIdentities?: ReadonlyMap<string, KubeObject>;
  readonly accessPolicies?: ReadonlyMap<string, KubeObject>;
  /** Any other kinds. Those that Weft refuses for now (HTTPRoute…) get a status. */
  readonly others?: Iterable<KubeObject>;
  /** "kind/namespace/name" → the last generation that was accepted. */
  readonly lastGood?: ReadonlyMap<string, KubeObject>;
}

export interface Plan {
  readonly documents: ReadonlyMap<string, PlannedDocument>;
  /** By "kind/namespace/name". */
  readonly statuses: ReadonlyMap<string, PlannedStatus>;
  /** Entries of `lastGood` that are new, by "kind/namespace/name". */
  readonly accepted: ReadonlyMap<string, KubeObject>;
}

/** Everything at once: the same as indexing the objects one by one and planning every key. */
export function plan(resources: Resources): Plan {
  const { services, pods, endpointSlices, trafficPolicies, meshIdentities, accessPolicies } = resources;
  const maps = [services, pods, endpointSlices, trafficPolicies, meshIdentities, accessPolicies];
  const objects = [...maps.flatMap((map) => [...(map?.values() ?? [])]), ...(resources.others ?? [])];
  const index = new ResourceIndex();
  const { accepted } = index.replace(objects, { lastGood: resources.lastGood ?? new Map() });
  const news = [...accepted].flatMap((key) => {
    const object = index.lastGood.get(key);
    return object === undefined ? [] : [[key, object] as const];
  });
  return { ...planIndex(index), accepted: new Map(news) };
}

/** Every document and every status of what the index holds. */
export function planIndex(index: ResourceIndex): Omit<Plan, "accepted"> {
  const documents = new Map<string, PlannedDocument>();
  for (const key of documentKeys(index)) {
    const document = planDocument(index, key);
    if (document !== null) documents.set(key, document);
  }
  const statuses = new Map<string, PlannedStatus>();
  for (const key of statusKeys(index)) {
    const status = planStatus(index, key);
    if (status !== null) statuses.set(key, status);
  }
  return { documents, statuses };
}

/**
 * One document; null when there is none of that key: no such object or port, a pod that is not in the mesh, or a key that
 * is not planned here (`trust` is the operator's).
 */
export function planDocument(index: ResourceIndex, key: string): PlannedDocument | null {
  const ref = parseDocumentKey(key);
  switch (ref?.type) {
    case "workload":
      return planWorkload(index, ref.key);
    case "service":
      return planService(index, ref.key, ref.port);
    case "endpoints":
      return planEndpoints(index, ref.key, ref.port);
    default:
      return null;
  }
}

/** Status of the object "kind/namespace/name"; null when it is gone or nothing is said of its kind. */
export function planStatus(index: ResourceIndex, key: string): PlannedStatus | null {
  const refused = index.refused.get(key);
  if (refused !== undefined) return planRefusedStatus(refused.entry);
  const [kind, name] = splitObjectKey(key);
  const traffic = kind === "TrafficPolicy" ? index.traffic.get(name) : undefined;
  if (traffic !== undefined) return planTrafficStatus(index, traffic);
  const identity = kind === "MeshIdentity" ? index.identities.get(name) : undefined;
  return identity === undefined ? null : planIdentityStatus(index, identity);
}

/** Keys of all documents there are, sorted. */
export function documentKeys(index: ResourceIndex): string[] {
  const keys: string[] = [];
  for (const pod of index.pods.values()) if (pod.meshed) keys.push(workloadKey(pod.key));
  for (const service of index.services.values()) {
    for (const { port } of service.ports) keys.push(serviceKey(service.key, port), endpointsKey(service.key, port));
  }
  return keys.sort();
}

/** Keys of all objects that have a planned status, sorted. */
export function statusKeys(index: ResourceIndex): string[] {
  const keys: string[] = [];
  for (const table of [index.traffic, index.identities]) for (const entry of table.values()) keys.push(objectKey(entry.kind, entry.key));
  for (const row of index.refused.values()) keys.push(row.key);
  return keys.sort();
}
