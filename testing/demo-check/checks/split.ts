import type { Check } from "../ledger.ts";
import { type Load, mustBeFlawless } from "../probe.ts";
import type { Run } from "../run.ts";
import { median, monotonicMs, must, seconds, until } from "../wait.ts";
import type { World } from "../world.ts";

export const POLICIES = "4-policies.yaml";
const REQUESTS = 5000;
const RATE = 400;
const TOLERANCE_POINTS = 2;
const EDITS = 20;
const MEDIAN_MS = 500;
const WORST_MS = 2500;
/** Without a request to the old split for so long, it is out of force. */
const QUIET_MS = 400;

/** Saves the policies with these weights for v1 and v2; the moment at which the file was there. */
export function setSplit(run: Run, v1: number, v2: number): number {
  const text = run.read(POLICIES);
  const weights = /(\{subset: v1, weight: )\d+(\}[\s\S]*?\{subset: v2, weight: )\d+(\})/;
  must(weights.test(text), `${POLICIES} has no weights`);
  return run.write(POLICIES, text.replace(weights, `$1${v1}$2${v2}$3`));
}

export const ninetyTen: Check = {
  name: `90/10 holds within ${TOLERANCE_POINTS} points over ${REQUESTS} requests`,
  body: async (world) => {
    const run = await world.shop();
    const probe = await world.probe(run);
    const load = await probe.load({ service: "reviews", paths: ["/reviews/loom", "/reviews/heddle"], rate: RATE, count: REQUESTS });
    await until("all requests are answered", 60_000, async () => (await load.now()).finished >= REQUESTS, 200);
    const summary = await load.finish();
    mustBeFlawless("reviews", summary);
    const v2 = ((summary.versions["v2"] ?? 0) * 100) / REQUESTS;
    must(
      Object.values(summary.versions).reduce((a, b) => a + b, 0) === REQUESTS,
      `not every answer has a version: ${JSON.stringify(summary.versions)}`,
    );
    must(Math.abs(v2 - 10) <= TOLERANCE_POINTS, `v2 got ${v2.toFixed(2)} %`);
    return `v2 got ${v2.toFixed(2)} %, p50 ${summary.p50Ms.toFixed(1)} ms, p99 ${summary.p99Ms.toFixed(1)} ms at ${RATE}/s`;
  },
};

/** Clients of reviews in three sidecars: two probes call it themselves, the frontend for the third. */
export async function callersOfReviews(world: World, run: Run, rate: number): Promise<readonly Load[]> {
  const direct = { service: "reviews", paths: ["/reviews/loom", "/reviews/reed"], rate };
  const first = await world.probe(run, "probe-0");
  const second = await world.probe(run, "probe-1");
  return [
    await first.load(direct),
    await second.load(direct),
    await first.load({ service: "frontend", paths: ["/api/products/loom"], rate }),
  ];
}

/** The last moment at which any of the callers sent a request that `version` answered; 0: never. */
export async function lastSentTo(loads: readonly Load[], version: string): Promise<number> {
  const summaries = await Promise.all(loads.map((load) => load.now()));
  return Math.max(...summaries.map((s) => s.lastStartMs[version] ?? 0));
}

/** Waits until nobody was sent to `old` for a while; the moment of the last one. */
export async function goneFrom(loads: readonly Load[], old: string, withinMs: number): Promise<number> {
  return until(`nobody is sent to ${old} any more`, withinMs, async () => {
    const lastMs = await lastSentTo(loads, old);
    return monotonicMs() - lastMs >= QUIET_MS ? lastMs : null;
  });
}

export const editedSplit: Check = {
  name: `a split edited in the file is in force everywhere within ${MEDIAN_MS} ms (median of ${EDITS}; worst within ${seconds(WORST_MS)} s)`,
  body: async (world) => {
    const run = await world.shop();
    const loads = await callersOfReviews(world, run, 60);
    setSplit(run, 100, 0);
    await goneFrom(loads, "v2", 10_000);
    const lags: number[] = [];
    for (let edit = 0; edit < EDITS; edit++) {
      const [old, v1, v2] = edit % 2 === 0 ? (["v1", 0, 100] as const) : (["v2", 100, 0] as const);
      const writtenMs = setSplit(run, v1, v2);
      await until("the new split is seen", 10_000, async () => (await lastSentTo(loads, old === "v1" ? "v2" : "v1")) > writtenMs, 20);
      lags.push(Math.max(0, (await goneFrom(loads, old, 10_000)) - writtenMs));
    }
    setSplit(run, 90, 10);
    const summaries = await Promise.all(loads.map((load) => load.finish()));
    for (const [i, summary] of summaries.entries()) mustBeFlawless(`caller ${i}`, summary);
    const [middle, worst] = [median(lags), Math.max(...lags)];
    const figures = `median ${middle.toFixed(0)} ms, worst ${worst.toFixed(0)} ms over ${EDITS} edits and 3 callers`;
    must(middle <= MEDIAN_MS && worst <= WORST_MS, figures);
    return `${figures}, no failed request`;
  },
};
