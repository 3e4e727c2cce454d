import type { Check } from "../ledger.ts";
import { scrape, sum } from "../metrics.ts";
import { mustBeFlawless } from "../probe.ts";
import type { Run } from "../run.ts";
import { during, must } from "../wait.ts";

const LOAD_MS = 180_000;
const RATE = 100;
const RENEWALS_MIN = 2;
/** Sidecars without a part in it are not looked at. */
const BUSY = /^shop\/(frontend|catalog|reviews|cart|kv|probe-0)/;

/** Renewals by pod. A failed one counts apart. */
async function renewals(run: Run): Promise<Map<string, number>> {
  const { pods } = await run.state();
  const busy = pods.filter((p) => BUSY.test(p.name));
  const counts = await Promise.all(
    busy.map(async ({ name, podAddress }): Promise<[string, number]> => {
      const series = (await scrape(podAddress)).filter((s) => s.name === "weft_certificate_renewals_total");
      return [name, sum(series, "weft_certificate_renewals_total", { outcome: "ok" })];
    }),
  );
  return new Map(counts);
}

export const rotation: Check = {
  name: `${LOAD_MS / 60_000} minutes of load at ${RATE} requests a second over rotations with ttl 60 s: no failed request`,
  body: async (world) => {
    const run = await world.rotating();
    const before = await renewals(run);
    const probe = await world.probe(run);
    const load = await probe.load({
      service: "frontend",
      paths: ["/api/products/loom", "/api/products", "/api/cart/probe", "/api/products/reed"],
      rate: RATE,
      postEvery: 10,
      postPath: "/api/cart/probe",
      body: { product: "reed", quantity: 1 },
    });
    await during(LOAD_MS);
    const summary = await load.finish();
    const after = await renewals(run);
    mustBeFlawless("frontend", summary);
    const grown = [...after].map(([pod, count]) => ({ pod, grown: count - (before.get(pod) ?? 0) }));
    const lazy = grown.filter((g) => g.grown < RENEWALS_MIN);
    must(lazy.length === 0, `fewer than ${RENEWALS_MIN} renewals: ${lazy.map((g) => `${g.pod} ${g.grown}`).join(", ")}`);
    const counts = grown.map((g) => g.grown);
    const p = `p50 ${summary.p50Ms.toFixed(1)} ms, p99 ${summary.p99Ms.toFixed(1)} ms`;
    return `${summary.started} requests, ${Math.min(...counts)} to ${Math.max(...counts)} renewals in each of ${counts.length} sidecars, ${p}`;
  },
};
