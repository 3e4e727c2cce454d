import type { Check } from "../ledger.ts";
import type { LoadSummary } from "../probe.ts";
import { during, monotonicMs, must } from "../wait.ts";

const RECOVERY_MS = 1000;
/** How long the load goes on after a kill: past the restart of what was killed. */
const AFTER_MS = 6000;
const VICTIM = "catalog-0";

type Part = "app" | "sidecar" | "both";

function killed(part: Part): Check {
  const what = part === "both" ? "app and sidecar" : `the ${part}`;
  return {
    name: `kill -9 of ${what} of one of two replicas under load: no failed idempotent request after 1 s`,
    body: async (world) => {
      const run = await world.shop();
      await run.allReady(30_000);
      const probe = await world.probe(run);
      const loads = [
        await probe.load({ service: "catalog", paths: ["/products", "/products/loom"], rate: 80 }),
        await probe.load({ service: "frontend", paths: ["/api/products", "/api/products/loom"], rate: 40 }),
      ];
      await during(1500);
      const { pids } = await run.pod(VICTIM);
      const targets = [...(part === "sidecar" ? [] : pids.app), ...(part === "app" ? [] : [pids.proxy])];
      must(targets.length > 0 && targets.every((pid) => pid !== null), `${VICTIM} does not run: ${JSON.stringify(pids)}`);
      const killedMs = monotonicMs();
      for (const pid of targets) process.kill(pid ?? 0, "SIGKILL");
      await during(AFTER_MS);
      await run.allReady(30_000);
      const summaries = await Promise.all(loads.map((load) => load.finish()));
      return judge(summaries, killedMs);
    },
  };
}

function judge(summaries: readonly LoadSummary[], killedMs: number): string {
  const failures = summaries.flatMap((s) => s.failures);
  const early = failures.filter((f) => f.startedMs < killedMs);
  const late = failures.filter((f) => f.startedMs > killedMs + RECOVERY_MS);
  const [first] = late;
  const sent = summaries.reduce((total, s) => total + s.started, 0);
  const example =
    first === undefined
      ? ""
      : `, the first ${(first.startedMs - killedMs).toFixed(0)} ms after: ${first.method} ${first.path}: ${first.why}`;
  must(late.length === 0, `${late.length} of ${sent} requests failed after the first second${example}`);
  const within = failures.length - early.length;
  return `${sent} requests, ${within} failed within the first second, none after it`;
}

export const appKilled = killed("app");
export const sidecarKilled = killed("sidecar");
export const bothKilled = killed("both");
