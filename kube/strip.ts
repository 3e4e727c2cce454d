import type { KubeObject } from "#api/resources/kube.ts";
import { WEFT_GROUP } from "#api/resources/object.ts";
import { record } from "./kube-error.ts";

/** What a copy of many objects need not hold. Each keeps the fields that somebody reads; a copy of a cluster's pods whole would be most of a replica's memory. */

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** All but what only kubectl and the API server read. */
export function strip(object: KubeObject): KubeObject {
  const { managedFields: _fields, annotations, ...metadata } = object.metadata as KubeObject["metadata"] & { managedFields?: unknown };
  const kept = Object.entries(annotations ?? {}).filter(([name]) => name !== LAST_APPLIED);
  return { ...object, metadata: { ...metadata, ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }) } };
}

/** Names, labels, our annotations, who it runs as, its ports, its address and how it fares. */
export function stripPod(pod: KubeObject): KubeObject {
  const spec = record(pod.spec);
  const status = record(pod.status);
  return {
    apiVersion: pod.apiVersion,
    kind: pod.kind,
    metadata: ownMetadata(pod),
    spec: {
      ...pick(spec, ["serviceAccountName", "nodeName", "hostNetwork"]),
      containers: containers(spec["containers"], ["name", "ports"]),
      ...(spec["initContainers"] === undefined
        ? {}
        : { initContainers: containers(spec["initContainers"], ["name", "ports", "restartPolicy"]) }),
    },
    status: {
      ...pick(status, ["phase", "podIP", "podIPs"]),
      ...(Array.isArray(status["conditions"])
        ? { conditions: status["conditions"].map((one) => pick(record(one), ["type", "status"])) }
        : {}),
    },
  };
}

function ownMetadata({ metadata }: KubeObject): KubeObject["metadata"] {
  const { name, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp, labels, annotations } = metadata;
  const ours = Object.entries(annotations ?? {}).filter(([key]) => key.startsWith(`${WEFT_GROUP}/`));
  const present = { namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp, labels };
  return {
    name,
    ...pick(present, Object.keys(present)),
    ...(ours.length === 0 ? {} : { annotations: Object.fromEntries(ours) }),
  } as KubeObject["metadata"];
}

function containers(value: unknown, fields: readonly string[]): unknown[] {
  return Array.isArray(value) ? value.map((one) => pick(record(one), fields)) : [];
}

/** The fields that are there. */
function pick(from: Readonly<Record<string, unknown>>, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(fields.flatMap((field) => (from[field] === undefined ? [] : [[field, from[field]]])));
}
