import { create } from "@bufbuild/protobuf";
import { type InboundPort, InboundPortSchema, Protocol, WorkloadSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { workloadId } from "#api/spiffe.ts";
import { Newest, type PlannedDocument } from "./documents.ts";
import type { PodFacts, ServicePortFacts } from "./facts.ts";
import { modeAt, modesOf, onWire, trustDomainOf } from "./identity.ts";
import { workloadKey } from "./keys.ts";
import { byteOrder } from "./order.ts";
import type { ResourceIndex } from "./resource-index.ts";

/** What a pod's own proxy must know of it. Null when the pod does not exist or is not in the mesh. */
export function planWorkload(index: ResourceIndex, key: string): PlannedDocument | null {
  const pod = index.pods.get(key);
  if (pod === undefined || !pod.meshed) return null;
  const documentKey = workloadKey(pod.key);
  const newest = new Newest(index.revisionOf(documentKey));
  const modes = modesOf(index, pod);
  newest.see(pod, modes);
  const ports = new Map<number, InboundPort>();
  const port = (number: number): InboundPort => {
    const known = ports.get(number);
    if (known !== undefined) return known;
    const name = pod.ports.find((candidate) => candidate.port === number)?.name ?? "";
    const added = create(InboundPortSchema, { port: number, name, protocol: Protocol.TCP, mtlsMode: onWire(modeAt(modes, number)) });
    ports.set(number, added);
    return added;
  };
  for (const { port: number } of pod.ports) port(number);
  for (const number of modes.ports.keys()) port(number);
  for (const service of index.servicesSelecting(pod)) {
    newest.see(service);
    for (const servicePort of service.ports) {
      const target = targetPort(servicePort, pod);
      // One Service that declares HTTP is enough: what is HTTP for some callers is HTTP on the wire.
      if (target !== null && servicePort.http) port(target).protocol = Protocol.HTTP;
      else if (target !== null) port(target);
    }
  }
  const body = create(WorkloadSchema, {
    namespace: pod.namespace,
    pod: pod.name,
    serviceAccount: pod.serviceAccount,
    spiffeId: workloadId(trustDomainOf(index), pod.namespace, pod.serviceAccount),
    ports: [...ports.values()].sort((a, b) => a.port - b.port || byteOrder(a.name, b.name)),
    mtlsMode: onWire(modes.mode),
    deleting: pod.deleting,
  });
  return { key: documentKey, resourceVersion: newest.value, requires: [], body };
}

/** The pod's port behind the Service's; named target ports may differ from pod to pod, and be missing in some. */
function targetPort(port: ServicePortFacts, pod: PodFacts): number | null {
  if (typeof port.targetPort === "number") return port.targetPort;
  return pod.ports.find((candidate) => candidate.name === port.targetPort)?.port ?? null;
}
