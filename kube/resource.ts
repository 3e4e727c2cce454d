import type { KubeObject } from "#api/resources/kube.ts";
import { WEFT_GROUP, WEFT_VERSION } from "#api/resources/object.ts";

/** A kind as the API server's paths name it. */
export interface Resource {
  /** "" is the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const core = (plural: string, kind: string): Resource => ({ group: "", version: "v1", plural, kind, namespaced: true });
const weft = (plural: string, kind: string): Resource => ({ group: WEFT_GROUP, version: WEFT_VERSION, plural, kind, namespaced: true });
const gateway = (plural: string, kind: string): Resource => ({
  group: "gateway.networking.k8s.io",
  version: "v1",
  plural,
  kind,
  namespaced: true,
});

export const SERVICES = core("services", "Service");
export const PODS = core("pods", "Pod");
export const CONFIG_MAPS = core("configmaps", "ConfigMap");
export const SECRETS = core("secrets", "Secret");
export const ENDPOINT_SLICES: Resource = {
  group: "discovery.k8s.io",
  version: "v1",
  plural: "endpointslices",
  kind: "EndpointSlice",
  namespaced: true,
};
export const LEASES: Resource = { group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease", namespaced: true };
export const TRAFFIC_POLICIES = weft("trafficpolicies", "TrafficPolicy");
export const MESH_IDENTITIES = weft("meshidentities", "MeshIdentity");
export const ACCESS_POLICIES = weft("accesspolicies", "AccessPolicy");
export const HTTP_ROUTES = gateway("httproutes", "HTTPRoute");
export const GRPC_ROUTES = gateway("grpcroutes", "GRPCRoute");

/** Every kind that Weft asks the API server about. */
export const RESOURCES: readonly Resource[] = [
  SERVICES,
  PODS,
  CONFIG_MAPS,
  SECRETS,
  ENDPOINT_SLICES,
  LEASES,
  TRAFFIC_POLICIES,
  MESH_IDENTITIES,
  ACCESS_POLICIES,
  HTTP_ROUTES,
  GRPC_ROUTES,
];

/** "v1", "weft.dev/v1alpha1". */
export function apiVersionOf({ group, version }: Resource): string {
  return group === "" ? version : `${group}/${version}`;
}

/** The kind with this apiVersion and name; null for one that Weft never writes or reads. */
export function resourceOf(apiVersion: string, kind: string): Resource | null {
  return RESOURCES.find((one) => one.kind === kind && apiVersionOf(one) === apiVersion) ?? null;
}

/** Path of all objects of the kind, in one namespace or ("") in all. */
export function collectionPath(resource: Resource, namespace = ""): string {
  const root = resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = namespace === "" || !resource.namespaced ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${resource.plural}`;
}

/** Path of one object, or of its part ("status", "token"). */
export function objectPath(resource: Resource, namespace: string, name: string, subresource = ""): string {
  const path = `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`;
  return subresource === "" ? path : `${path}/${subresource}`;
}

/** "namespace/name"; "/name" for what has no namespace. */
export function nameOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}
