import type { KubeObject } from "#api/resources/kube.ts";
import { MESH_IDENTITY_NAME, SYSTEM_NAMESPACE, WEFT_API_VERSION, WEFT_GROUP } from "#api/resources/object.ts";
import { record, text } from "./facts.ts";

export type { MeshIdentitySpec } from "#api/resources/mesh-identity.ts";
export type { TrafficPolicySpec } from "#api/resources/traffic-policy.ts";

/** What the planner looks at. "refused": a kind that Weft knows and does not act on yet, so that it must say so. */
export type Kind = "Service" | "Pod" | "EndpointSlice" | "TrafficPolicy" | "MeshIdentity" | "refused";

/** Key of the MeshIdentity that speaks for the whole mesh. */
export const MESH = `${SYSTEM_NAMESPACE}/${MESH_IDENTITY_NAME}`;

const GATEWAY_GROUP = "gateway.networking.k8s.io";
const KINDS: Readonly<Record<string, Kind>> = {
  "v1/Service": "Service",
  "v1/Pod": "Pod",
  "discovery.k8s.io/v1/EndpointSlice": "EndpointSlice",
  [`${WEFT_API_VERSION}/TrafficPolicy`]: "TrafficPolicy",
  [`${WEFT_API_VERSION}/MeshIdentity`]: "MeshIdentity",
};

/** Null for what is none of our business. Group and version count: others have kinds of the same names (Knative's Service, Kuma's MeshIdentity). */
export function kindOf(object: KubeObject): Kind | null {
  const apiVersion = text(record(object)["apiVersion"]);
  const kind = text(record(object)["kind"]);
  if (kind === "") return null;
  const group = apiVersion.slice(0, Math.max(0, apiVersion.indexOf("/")));
  const known = Object.hasOwn(KINDS, `${apiVersion}/${kind}`) ? KINDS[`${apiVersion}/${kind}`] : undefined;
  return known ?? (group === WEFT_GROUP || group === GATEWAY_GROUP ? "refused" : null);
}
