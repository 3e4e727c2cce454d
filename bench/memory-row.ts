import path from "node:path";
import { PORTS } from "#api/ports.ts";
import { IN_USE, type LargeService, largeServices, SERVICE_PORT, SERVICES, ENDPOINTS, writeLargeMesh } from "./large-mesh.ts";
import { h2load } from "./load/h2load.ts";
import { type Plan, timeFor } from "./measure.ts";
import { envoyMesh } from "./peers/envoy.ts";
import type { Ground } from "./peers/target.ts";
import { WeftRun } from "./peers/weft.ts";
import { type Measured, measuredOf } from "./results.ts";
import { type Memory, memory } from "./usage.ts";

/** Requests to each Service in use before memory is read. */
const REQUESTS = 2_000;
const CONNECTIONS = 8;

export const MEMORY_ROW = {
  number: "12",
  workload: "rss-1000x10",
  title: `memory with ${SERVICES} Services of ${ENDPOINTS} endpoints, ${IN_USE} in use, after ${IN_USE * REQUESTS} requests`,
  threshold: { reference: "envoy-h1", limit: 0.6 },
} as const;

/** RSS of one proxy, freshly started in each round. */
export async function measureMemory(ground: Ground, plan: Plan): Promise<Measured[]> {
  const { rounds, peers, say } = plan;
  const services = largeServices(ground.backends.httpPort);
  const folder = path.join(ground.folder, "large-mesh");
  writeLargeMesh(folder, services);
  const measures: Record<string, () => Promise<Memory>> = {
    weft: async () => {
      const run = await WeftRun.start(ground, folder);
      say(`  the operator's metrics: ${await operatorCounts(run.operatorAddress)}`);
      const targets = services.slice(0, IN_USE).map((s) => run.target(s.name, SERVICE_PORT, null));
      for (const target of targets) await h2load(ground.processes, target, REQUESTS, CONNECTIONS);
      return memory(targets[0]!.pids);
    },
    "envoy-h1": () => measureEnvoy(ground, services, "yaml"),
    "envoy-h1-json": () => measureEnvoy(ground, services, "json"),
  };
  const names = Object.keys(measures).filter((name) => (peers === null || peers.has(name)) && (name === "weft" || ground.envoy !== null));
  const found = new Map<string, (Memory | null)[]>(names.map((name) => [name, []]));
  for (let round = 1; round <= rounds && timeFor(round, plan); round++) {
    for (const name of names) {
      const value = await measures[name]!().catch((error: Error) => {
        if (ground.processes.closed) throw error;
        say(`  ${name} failed in this round: ${error.message}`);
        return null;
      });
      await ground.processes.stopAll();
      found.get(name)!.push(value);
      if (value !== null)
        say(`  round ${round}/${rounds}: ${name} ${value.rssMiB.toFixed(1)} MiB, of that anonymous ${value.rssAnonMiB.toFixed(1)}`);
    }
  }
  return (["rssMiB", "rssAnonMiB"] as const).flatMap((metric) => {
    const values = (name: string): (number | null)[] => (found.get(name) ?? []).map((m) => m?.[metric] ?? null);
    return names.flatMap((name) => measuredOf(name, metric, values(name), values(MEMORY_ROW.threshold.reference)));
  });
}

async function measureEnvoy(ground: Ground, services: readonly LargeService[], format: "yaml" | "json"): Promise<Memory> {
  const target = await envoyMesh(ground, services, format);
  for (const { name } of services.slice(0, IN_USE)) await h2load(ground.processes, target, REQUESTS, CONNECTIONS, name);
  return memory(target.pids);
}

/** What shows that the mesh is loaded whole. Throws when it is not. */
async function operatorCounts(address: string): Promise<string> {
  const text = await (await fetch(`http://${address}:${PORTS.operatorAdmin}/metrics`)).text();
  const value = (name: string): number => Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1] ?? 0);
  const [known, endpoints] = [value("weft_operator_services"), value("weft_operator_endpoints")];
  if (known < SERVICES || endpoints < SERVICES * ENDPOINTS)
    throw new Error(`the operator knows ${known} Services and ${endpoints} endpoints only`);
  return `weft_operator_services ${known}, weft_operator_endpoints ${endpoints}`;
}
