import { nearest } from "#api/resources/schema-walk.ts";

export interface KindInfo {
  readonly kind: string;
  readonly group: string;
  readonly versions: readonly string[];
  /** Lower-case names by which `weft get` takes it, plural first. */
  readonly names: readonly string[];
  readonly namespaced: boolean;
}

const info = (group: string, versions: string, kind: string, names: string, namespaced = true): KindInfo => ({
  kind,
  group,
  versions: versions.split(" "),
  names: names.split(" "),
  namespaced,
});

/** Every kind that the store keeps. */
export const KINDS: readonly KindInfo[] = [
  info("", "v1", "Pod", "pods pod po"),
  info("", "v1", "Service", "services service svc"),
  info("", "v1", "ServiceAccount", "serviceaccounts serviceaccount sa"),
  info("", "v1", "Namespace", "namespaces namespace ns", false),
  info("apps", "v1", "Deployment", "deployments deployment deploy"),
  info("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices endpointslice eps"),
  info("weft.dev", "v1alpha1", "TrafficPolicy", "trafficpolicies trafficpolicy wtp"),
  info("weft.dev", "v1alpha1", "MeshIdentity", "meshidentities meshidentity wid"),
  info("weft.dev", "v1alpha1", "AccessPolicy", "accesspolicies accesspolicy wap"),
  ...["HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "UDPRoute", "Gateway", "ReferenceGrant", "BackendTLSPolicy"].map((kind) => {
    const one = kind.toLowerCase();
    return info(
      "gateway.networking.k8s.io",
      "v1 v1beta1 v1alpha2 v1alpha3",
      kind,
      `${one.endsWith("y") ? `${one.slice(0, -1)}ies` : `${one}s`} ${one}`,
    );
  }),
  info("gateway.networking.k8s.io", "v1 v1beta1", "GatewayClass", "gatewayclasses gatewayclass", false),
];

/** Kinds of Kubernetes whose names a typo could resemble, so that they are ignored and not "corrected". */
const OTHERS = new Set(
  "ConfigMap Secret Endpoints Event Node PersistentVolume PersistentVolumeClaim PodTemplate ReplicaSet ReplicationController StatefulSet DaemonSet Job CronJob Ingress IngressClass NetworkPolicy Role RoleBinding ClusterRole ClusterRoleBinding List".split(
    " ",
  ),
);

export type Treatment =
  | { readonly treat: "own" | "weft"; readonly namespaced: boolean }
  | { readonly treat: "ignore" }
  | { readonly treat: "refuse"; readonly path: string; readonly message: string; readonly remedy: string };

/**
 * What the runner does with a kind. Ignored: what only a cluster can use. Refused: what looks like a typo of
 * something that matters. Gateway API's kinds are kept: `plan` says in their status what it makes of them.
 */
export function classify(apiVersion: string, kind: string): Treatment {
  const [group, version] = apiVersion.includes("/")
    ? [apiVersion.slice(0, apiVersion.indexOf("/")), apiVersion.slice(apiVersion.indexOf("/") + 1)]
    : ["", apiVersion];
  const known = KINDS.find((k) => k.kind === kind && k.group === group);
  if (known !== undefined) {
    if (known.versions.includes(version)) return { treat: group === "weft.dev" ? "weft" : "own", namespaced: known.namespaced };
    return refuse("apiVersion", `${kind} has no version ${version}`, `write apiVersion: ${qualified(known)}`);
  }
  const sameKind = KINDS.find((k) => k.kind === kind);
  const ours = KINDS.filter((k) => k.group === group).map((k) => k.kind);
  if (group === "weft.dev") {
    const near = nearest(kind, ours);
    return refuse("kind", `weft.dev has no kind ${kind}`, near === null ? `its kinds are ${ours.join(", ")}` : `did you mean ${near}?`);
  }
  if (sameKind !== undefined && (group === "" || nearest(group, [sameKind.group]) !== null)) {
    return refuse("apiVersion", `${kind} is not of ${apiVersion}`, `write apiVersion: ${qualified(sameKind)}`);
  }
  const near = OTHERS.has(kind) ? null : nearest(kind, ours);
  return near === null ? { treat: "ignore" } : refuse("kind", `unknown kind ${kind}`, `did you mean ${near}?`);
}

function qualified(k: KindInfo): string {
  return k.group === "" ? k.versions[0]! : `${k.group}/${k.versions[0]!}`;
}

function refuse(path: string, message: string, remedy: string): Treatment {
  return { treat: "refuse", path, message, remedy };
}

/** The kind that a word on the command line names, in any case, plural, singular or short. */
export function kindNamed(word: string): KindInfo | null {
  return KINDS.find((k) => k.names.includes(word.toLowerCase())) ?? null;
}
