import {
  type ContainerPort,
  type EndpointSlice,
  type Pod,
  SERVICE_NAME_LABEL,
  type Service,
  type ServicePort,
} from "#api/resources/kube.ts";
import { byteOrder } from "./keys.ts";
import { isTcp } from "./ports.ts";

/** Most endpoints of one slice, as Kubernetes' own controller has it. */
const ENDPOINTS_MAX = 100;
export const MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by";
export const MANAGED_BY = "weft-run";

/**
 * The slices of a Service with a selector: one group for each set of resolved ports (named target ports may
 * differ by pod), at most 100 endpoints each. Pure; the same input gives the same slices with the same names.
 */
export function slicesFor(service: Service, pods: readonly Pod[]): EndpointSlice[] {
  const selector = Object.entries(service.spec.selector ?? {});
  if (selector.length === 0 || service.spec.type === "ExternalName") return [];
  const namespace = service.metadata.namespace ?? "default";
  const groups = new Map<string, { ports: NonNullable<EndpointSlice["ports"]>; pods: Pod[] }>();
  const selected = pods
    .filter(
      (p) =>
        p.metadata.namespace === namespace && (p.status?.podIP ?? "") !== "" && selector.every(([k, v]) => p.metadata.labels?.[k] === v),
    )
    .sort((a, b) => byteOrder(a.metadata.name, b.metadata.name));
  for (const pod of selected) {
    const ports = (service.spec.ports ?? []).flatMap((p) => resolve(p, pod));
    const key = JSON.stringify(ports);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { ports, pods: [pod] });
    else group.pods.push(pod);
  }
  const slices: EndpointSlice[] = [];
  for (const [, group] of [...groups].sort(([a], [b]) => byteOrder(a, b))) {
    for (let i = 0; i < group.pods.length; i += ENDPOINTS_MAX) {
      slices.push({
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: `${service.metadata.name}-weft-${slices.length}`,
          namespace,
          labels: { [SERVICE_NAME_LABEL]: service.metadata.name, [MANAGED_BY_LABEL]: MANAGED_BY },
        },
        addressType: "IPv4",
        endpoints: group.pods.slice(i, i + ENDPOINTS_MAX).map((pod) => endpoint(pod, service)),
        ports: group.ports,
      });
    }
  }
  return slices;
}

function resolve(port: ServicePort, pod: Pod): NonNullable<EndpointSlice["ports"]> {
  const target = port.targetPort ?? port.port;
  const wanted = (p: ContainerPort): boolean => p.name === target && isTcp(p) === isTcp(port);
  const number = typeof target === "number" ? target : pod.spec.containers.flatMap((c) => c.ports ?? []).find(wanted)?.containerPort;
  if (number === undefined) return [];
  const appProtocol = port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol };
  return [{ name: port.name ?? "", port: number, protocol: port.protocol ?? "TCP", ...appProtocol }];
}

function endpoint(pod: Pod, service: Service): NonNullable<EndpointSlice["endpoints"]>[number] {
  const isReady = pod.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false;
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const publishAll = (service.spec as { publishNotReadyAddresses?: boolean }).publishNotReadyAddresses === true;
  return {
    addresses: [pod.status?.podIP ?? ""],
    // As Kubernetes: ready is never true of what terminates, unless the Service publishes all.
    conditions: { ready: publishAll || (isReady && !terminating), serving: isReady, terminating },
    targetRef: { kind: "Pod", name: pod.metadata.name, namespace: pod.metadata.namespace ?? "default" },
  };
}
