import { type FeatureCost, featureCosts, type ProfileShare } from "./features.ts";
import { h2load } from "./load/h2load.ts";
import { measureRow, type Plan } from "./measure.ts";
import type { Ground } from "./peers/target.ts";
import { WeftRun } from "./peers/weft.ts";
import { profile, sharesOf, sidecarModules } from "./profile.ts";
import type { Measured } from "./results.ts";
import { FEATURES, MESH } from "./rows.ts";

const WARM = 20_000;
const PROFILED = 20_000;
const CONNECTIONS = 32;
const PLAIN_HOP = "plain hop";

export interface ProfiledSidecar {
  readonly sidecar: string;
  readonly shares: readonly ProfileShare[];
}

/** What results/features.json holds. */
export interface Features {
  readonly variants: readonly Measured[];
  readonly costs: readonly FeatureCost[];
  readonly profiles: readonly ProfiledSidecar[];
}

/** Costs by differences between Services of bench/mesh, then where the time of each sidecar goes. */
export async function measureFeatures(ground: Ground, plan: Plan): Promise<Features> {
  const variants = await measureRow(ground, FEATURES, { ...plan, peers: null });
  const places = [
    { sidecar: PLAIN_HOP, service: "plain", pod: "client" },
    { sidecar: "mTLS pair, outbound", service: "pair", pod: "client" },
    { sidecar: "mTLS pair, inbound", service: "pair", pod: "web" },
  ];
  const profiles: ProfiledSidecar[] = [];
  for (const { sidecar, service, pod } of places) {
    try {
      profiles.push({ sidecar, shares: await profileOne(ground, service, pod) });
      plan.say(`  profiled: ${sidecar}`);
    } catch (error) {
      if (ground.processes.closed) throw error;
      plan.say(`  no profile of ${sidecar}: ${(error as Error).message}`);
    } finally {
      await ground.processes.stopAll();
    }
  }
  return { variants, costs: featureCosts(variants, profiles.find((p) => p.sidecar === PLAIN_HOP)?.shares ?? []), profiles };
}

/** A run of its own each: a process keeps the inspector's port once it is open. */
async function profileOne(ground: Ground, service: string, pod: string): Promise<ProfileShare[]> {
  const run = await WeftRun.start(ground, MESH);
  const target = run.target(service, 8080, null);
  await h2load(ground.processes, target, WARM, CONNECTIONS);
  const measured = await profile(run.sidecar(pod), () => h2load(ground.processes, target, PROFILED, CONNECTIONS));
  return sharesOf(measured, sidecarModules());
}
