import type { Pod, Service } from "#api/resources/kube.ts";

/**
 * The port by which a port of a manifest is reached on this machine. Below 1024 needs root, so it becomes
 * port + 10000, for root too: the same folder then behaves the same whoever runs it.
 */
export function reachablePort(port: number): number {
  return port < 1024 ? port + 10_000 : port;
}

export function isTcp(port: { readonly protocol?: string }): boolean {
  return port.protocol === undefined || port.protocol === "TCP";
}

/** The pod as it is here: its TCP container ports are the reachable ones, so that endpoints, workload documents and listeners agree. */
export function withReachablePorts(pod: Pod): Pod {
  const containers = pod.spec.containers.map((c) =>
    c.ports === undefined
      ? c
      : { ...c, ports: c.ports.map((p) => (isTcp(p) ? { ...p, containerPort: reachablePort(p.containerPort) } : p)) },
  );
  return { ...pod, spec: { ...pod.spec, containers } };
}

/** The Service as it is here: numeric target ports are the reachable ones. Its own ports stay: policies name them. */
export function withReachableTargets(service: Service): Service {
  if (service.spec.ports === undefined) return service;
  const ports = service.spec.ports.map((p) => {
    const target = p.targetPort ?? p.port;
    return isTcp(p) && typeof target === "number" && reachablePort(target) !== target ? { ...p, targetPort: reachablePort(target) } : p;
  });
  return { ...service, spec: { ...service.spec, ports } };
}
