import { INJECT_LABEL, SIDECAR } from "#api/sidecar.ts";
import type { Problem } from "#mesh/plan/problem.ts";
import { bypasses } from "./bypass.ts";
import { isOurs } from "./recognise.ts";
import { list, metadataValue, record, text, type Json } from "./pod.ts";

/** Why a pod is left as it is. */
export type SkipReason = "system-namespace" | "mirror-pod" | "windows" | "host-network" | "disabled" | "not-asked";

export type Decision =
  | { readonly action: "skip"; readonly reason: SkipReason; readonly warnings: readonly string[] }
  | { readonly action: "refuse"; readonly problems: readonly Problem[] }
  /** `already`: the pod carries the sidecar; it is still brought up to date, since others may have changed the pod after us. */
  | { readonly action: "inject"; readonly already: boolean; readonly warnings: readonly string[] };

export interface Asked {
  readonly pod: Json;
  readonly namespace: string;
  /** What is known of the namespace's labels; only `weft.dev/inject` counts. */
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly systemNamespace: string;
}

/** Pods of these are never touched: the cluster must come up without us. */
const CLUSTER_NAMESPACES: readonly string[] = ["kube-system", "kube-public", "kube-node-lease"];
const MIRROR_ANNOTATION = "kubernetes.io/config.mirror";

/**
 * Inject, leave alone or refuse. Whether a pod is injected already is told by its containers, never by a label or
 * annotation: anybody can write those.
 */
export function decide({ pod, namespace, namespaceLabels, systemNamespace }: Asked): Decision {
  const spec = record(pod["spec"]);
  const skip = (reason: SkipReason, ...warnings: string[]): Decision => ({ action: "skip", reason, warnings });
  if (namespace === systemNamespace || CLUSTER_NAMESPACES.includes(namespace)) return skip("system-namespace");
  // The kubelet's own copy of a static pod: the API server refuses any change to it.
  if (metadataValue(pod, "annotations", MIRROR_ANNOTATION) !== undefined) return skip("mirror-pod");

  // The annotation first, as plan reads it: both must agree on who is in the mesh.
  const own = metadataValue(pod, "annotations", INJECT_LABEL) ?? metadataValue(pod, "labels", INJECT_LABEL);
  if (own !== undefined && own !== "enabled" && own !== "disabled") return { action: "refuse", problems: [badLabel(own)] };
  const asked = own ?? (Object.hasOwn(namespaceLabels, INJECT_LABEL) ? namespaceLabels[INJECT_LABEL] : undefined);
  if (own === "disabled") return skip("disabled");
  if (asked !== "enabled") return skip(asked === "disabled" ? "disabled" : "not-asked");
  if (text(record(spec["os"])["name"]) === "windows") return skip("windows", "a Windows pod cannot be meshed: its traffic stays as it is");
  if (spec["hostNetwork"] === true)
    return skip(
      "host-network",
      "a pod with hostNetwork cannot be meshed: its redirect rules would be the node's. Its traffic stays as it is",
    );

  const problems = bypasses(pod);
  if (problems.length > 0) return { action: "refuse", problems };
  const init = list(spec["initContainers"]).map(record);
  const already = [SIDECAR.init, SIDECAR.proxy].every((name) => init.some((container) => container["name"] === name && isOurs(container)));
  return { action: "inject", already, warnings: warningsOf(spec) };
}

/** What is allowed and weakens the mesh. */
function warningsOf(spec: Json): string[] {
  const warnings: string[] = [];
  if (spec["shareProcessNamespace"] === true)
    warnings.push("shareProcessNamespace: a container of this pod that runs as root can read the proxy's key");
  if (spec["hostPID"] === true) warnings.push("hostPID: a container of this pod that runs as root can read every proxy's key on its node");
  return warnings;
}

function badLabel(value: string): Problem {
  return {
    path: `metadata.labels[${INJECT_LABEL}]`,
    code: "WEFT_BAD_POD_SETTING",
    message: `${JSON.stringify(value.slice(0, 64))} is neither "enabled" nor "disabled"`,
    remedy: `write ${INJECT_LABEL}: enabled, or disabled to leave this pod out`,
  };
}
