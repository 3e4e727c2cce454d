import type { Check } from "../ledger.ts";
import type { Run } from "../run.ts";
import { monotonicMs, must, seconds, until } from "../wait.ts";

const GONE_MS = 2000;

/** How long it takes until no process of the run is alive. */
async function gone(run: Run): Promise<string> {
  const before = run.alive();
  must(before.length > 10, `only ${before.length} processes are known of the run`);
  return `${before.length} processes`;
}

async function mustVanish(run: Run, sinceMs: number): Promise<number> {
  await until("no process of the run is left", GONE_MS + 8000, () => run.alive().length === 0, 25).catch(() => {
    throw new Error(
      `left running: ${run
        .alive()
        .map((p) => `${p.pid} ${p.command}`)
        .join("; ")}`,
    );
  });
  const tookMs = monotonicMs() - sinceMs;
  must(tookMs <= GONE_MS, `the last process was gone after ${seconds(tookMs)} s`);
  return tookMs;
}

export const interrupted: Check = {
  name: "2 s after Ctrl-C nothing is left",
  body: async (world) => {
    const run = await world.shop();
    const what = await gone(run);
    const sinceMs = monotonicMs();
    run.interrupt();
    const tookMs = await mustVanish(run, sinceMs);
    await until("the command ends", 2000, () => run.ended);
    return `${what} gone after ${seconds(tookMs)} s`;
  },
};

export const runnerKilled: Check = {
  name: "2 s after kill -9 of the runner nothing is left",
  body: async (world) => {
    const run = await world.rotating();
    await run.allReady(90_000);
    const what = await gone(run);
    const sinceMs = monotonicMs();
    run.kill();
    return `${what} gone after ${seconds(await mustVanish(run, sinceMs))} s`;
  },
};
