import fs from "node:fs";
import path from "node:path";

/** Services of the large mesh; of these the pod `client` calls the first `IN_USE`. */
export const SERVICES = 1000;
export const ENDPOINTS = 10;
export const IN_USE = 10;
/** Every Service's port. */
export const SERVICE_PORT = 8080;

export interface LargeService {
  readonly name: string;
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
}

/** Addresses on which the backend answers for the Services in use. */
export const ANSWERING: readonly string[] = Array.from({ length: ENDPOINTS }, (_, i) => `127.0.0.${i + 1}`);

/** The same for every peer: those in use lead to the backend, the others to addresses that nobody calls. */
export function largeServices(backendPort: number): LargeService[] {
  return Array.from({ length: SERVICES }, (_, i) => ({
    name: `svc-${i}`,
    endpoints: ANSWERING.map((host, e) => {
      const n = i * ENDPOINTS + e;
      return i < IN_USE ? { host, port: backendPort } : { host: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, port: 8080 };
    }),
  }));
}

/** The folder that `weft run` runs: all Services with their EndpointSlices, and one pod that calls a few of them. */
export function writeLargeMesh(folder: string, services: readonly LargeService[]): void {
  fs.mkdirSync(folder);
  const namespace = "bench";
  const objects: unknown[] = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
    {
      apiVersion: "weft.dev/v1alpha1",
      kind: "MeshIdentity",
      metadata: { name: "mesh", namespace: "weft-system" },
      spec: { trustDomain: "cluster.local", mtls: { mode: "Strict" } },
    },
  ];
  for (const { name, endpoints } of services) {
    const port = endpoints[0]?.port ?? 0;
    const ports = [{ name: "http", port, protocol: "TCP", appProtocol: "http" }];
    objects.push({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, namespace },
      spec: { ports: [{ name: "http", port: SERVICE_PORT, targetPort: port, appProtocol: "http" }] },
    });
    objects.push({
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: `${name}-1`, namespace, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      endpoints: endpoints.map(({ host }) => ({ addresses: [host], conditions: { ready: true } })),
      ports,
    });
  }
  const upstreams = services
    .slice(0, IN_USE)
    .map((s) => s.name)
    .join(",");
  objects.push({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "client", namespace, labels: { app: "client" }, annotations: { "weft.dev/upstreams": upstreams } },
    spec: { containers: [{ name: "client", command: ["sleep", "infinity"] }] },
  });
  // JSON is YAML.
  fs.writeFileSync(path.join(folder, "mesh.yaml"), objects.map((o) => JSON.stringify(o)).join("\n---\n"));
}
