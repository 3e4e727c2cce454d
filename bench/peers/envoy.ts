import fs from "node:fs";
import path from "node:path";
import { stringify } from "yaml";
import type { LargeService } from "../large-mesh.ts";
import { freePort, listens, type Running } from "../processes.ts";
import {
  bootstrap,
  cluster,
  downstreamTls,
  httpFilter,
  type Json,
  listener,
  tcpFilter,
  upstreamTls,
  type VirtualHost,
} from "./envoy-config.ts";
import type { Ground, Target } from "./target.ts";

interface EnvoyParts {
  readonly name: string;
  readonly listeners: readonly Json[];
  readonly clusters: readonly Json[];
  /** How the same configuration is written. It is YAML that people write; see `envoyMesh`. */
  readonly format?: "yaml" | "json";
}

/** One process with one worker thread, up once `port` answers. */
async function startEnvoy(ground: Ground, port: number, { name, listeners, clusters, format = "yaml" }: EnvoyParts): Promise<Running> {
  if (ground.envoy === null) throw new Error("Envoy is not installed");
  const file = path.join(ground.folder, `${name}-${port}.${format}`);
  const config = bootstrap(await freePort(), listeners, clusters);
  fs.writeFileSync(file, format === "json" ? JSON.stringify(config) : stringify(config, { aliasDuplicateObjects: false }));
  const args = ["-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"];
  const running = ground.processes.start({ name, program: ground.envoy, args });
  await listens(running, "127.0.0.1", port);
  return running;
}

const everywhere = (to: string): VirtualHost[] => [{ name: "all", domains: ["*"], cluster: to }];

/** One plain hop, HTTP or TCP. */
export async function envoyHop(ground: Ground, protocol: "http" | "tcp"): Promise<Target> {
  const { host, httpPort, echoPort } = ground.backends;
  const port = await freePort();
  const backend = cluster("backend", { endpoints: [{ host, port: protocol === "http" ? httpPort : echoPort }] });
  const filter = protocol === "http" ? httpFilter(everywhere("backend")) : tcpFilter("backend");
  const running = await startEnvoy(ground, port, { name: `envoy-${protocol}`, listeners: [listener(port, filter)], clusters: [backend] });
  return { host: "127.0.0.1", port, pids: [running.pid] };
}

/** Two processes: into mutual TLS 1.3 and out of it, each checking the other's SPIFFE id. */
export async function envoyPair(ground: Ground, between: "h1" | "h2" | "tcp", resume = false): Promise<Target> {
  const { host, httpPort, echoPort } = ground.backends;
  const [outPort, inPort] = [await freePort(), await freePort()];
  const isTcp = between === "tcp";
  const filterTo = (to: string): Json => (isTcp ? tcpFilter(to) : httpFilter(everywhere(to)));
  const backend = cluster("backend", { endpoints: [{ host, port: isTcp ? echoPort : httpPort }] });
  const inbound = [listener(inPort, filterTo("backend"), downstreamTls(ground.certificates))];
  const receiver = await startEnvoy(ground, inPort, { name: `envoy-${between}-in`, listeners: inbound, clusters: [backend] });
  const tls = upstreamTls(ground.certificates, [between === "h2" ? "h2" : "http/1.1"], resume);
  const peer = cluster("peer", { endpoints: [{ host: "127.0.0.1", port: inPort }], tls, http2: between === "h2" });
  const sender = await startEnvoy(ground, outPort, {
    name: `envoy-${between}-out`,
    listeners: [listener(outPort, filterTo("peer"))],
    clusters: [peer],
  });
  return { host: "127.0.0.1", port: outPort, pids: [sender.pid, receiver.pid] };
}

/**
 * A whole mesh in one proxy, as sidecars without on-demand configuration hold it: a cluster and a virtual host per Service.
 * Read from YAML, Envoy holds 50 MiB more than read from JSON: what its parser took stays resident.
 */
export async function envoyMesh(ground: Ground, services: readonly LargeService[], format: "yaml" | "json"): Promise<Target> {
  const port = await freePort();
  const hosts = services.map(({ name }) => ({ name, domains: [`${name}.bench.svc.cluster.local`, `${name}.bench`, name], cluster: name }));
  const clusters = services.map(({ name, endpoints }) => cluster(name, { endpoints }));
  const listeners = [listener(port, httpFilter(hosts))];
  const running = await startEnvoy(ground, port, { name: "envoy-mesh", listeners, clusters, format });
  return { host: "127.0.0.1", port, pids: [running.pid] };
}
