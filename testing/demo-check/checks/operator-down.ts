import type { Check } from "../ledger.ts";
import { mustBeFlawless } from "../probe.ts";
import { during, must, until } from "../wait.ts";
import { callersOfReviews, goneFrom, lastSentTo, setSplit } from "./split.ts";

const DOWN_MS = 60_000;
const APPLIED_MS = 2000;

export const operatorDown: Check = {
  name: "operator down for 60 s: no failed request on destinations in use; a policy changed meanwhile is in force 2 s after its return",
  body: async (world) => {
    const run = await world.shop();
    const others = await (await world.probe(run)).load({
      service: "frontend",
      paths: ["/api/products", "/api/cart/probe"],
      rate: 20,
      postEvery: 10,
      postPath: "/api/cart/probe",
      body: { product: "reed" },
    });
    const loads = await callersOfReviews(world, run, 30);
    setSplit(run, 100, 0);
    await goneFrom(loads, "v2", 10_000);
    const stopped = await run.weft("stop", "operator");
    must(stopped.code === 0, `weft stop operator: ${stopped.stderr}`);
    must((await run.state()).operator.pid === null, "the operator still runs");
    await during(DOWN_MS / 2);
    const writtenMs = setSplit(run, 0, 100);
    await during(DOWN_MS / 2);
    must((await lastSentTo(loads, "v2")) < writtenMs, "the policy was in force without an operator");
    const from = run.lines.length;
    const starting = run.weft("start", "operator");
    const { atMs: backMs } = await run.line(/operator ready/, 30_000, from);
    await until("the changed policy is in force", 30_000, async () => (await lastSentTo(loads, "v2")) > writtenMs);
    const lagMs = Math.max(0, (await goneFrom(loads, "v1", 30_000)) - backMs);
    must((await starting).code === 0, "weft start operator failed");
    const summaries = [await others.finish(), ...(await Promise.all(loads.map((load) => load.finish())))];
    setSplit(run, 90, 10);
    for (const [i, summary] of summaries.entries()) mustBeFlawless(`caller ${i}`, summary);
    must(lagMs <= APPLIED_MS, `the changed policy was in force ${lagMs.toFixed(0)} ms after the return`);
    const sent = summaries.reduce((total, s) => total + s.started, 0);
    return `${sent} requests, none failed; the changed policy was in force ${lagMs.toFixed(0)} ms after the return`;
  },
};
