import type { Check } from "../ledger.ts";
import type { Probe } from "../probe.ts";
import { rssAnonBytes } from "../processes.ts";
import type { Run } from "../run.ts";
import { must, until } from "../wait.ts";
import type { World } from "../world.ts";

const MIB = 1024 * 1024;
const PAUSE_MS = 20_000;
const BYTES = 1024 * MIB;
const BYTES_PER_SECOND = 50e6;
/** A machine that is busy with other things may slow the reader down to this, and the check still says something. */
const BYTES_PER_SECOND_MIN = BYTES_PER_SECOND / 2;
const GROWTH_MAX = 64 * MIB;
/** What each sidecar moves before the first look, so that what is compared is not the first use of its code. */
const WARM_UP_BYTES = 64 * MIB;
const SAMPLE_EVERY_MS = 200;

const warm = new WeakMap<World, Promise<Probe>>();

/** The sink has taken something from bulk by either protocol: its sidecar knows both ports from then on. */
function bulkIsWarm(world: World): Promise<Probe> {
  const known = warm.get(world);
  if (known !== undefined) return known;
  const made = warmUp(world);
  warm.set(world, made);
  return made;
}

async function warmUp(world: World): Promise<Probe> {
  const sink = await world.probe(await world.shop(), "sink-0");
  for (const protocol of ["http", "tcp"] as const)
    await sink.bulk({ service: "bulk", protocol, bytes: WARM_UP_BYTES, pauseMs: 0, bytesPerSecond: BYTES_PER_SECOND });
  return sink;
}

/** Samples the sidecars of both ends until stopped; the highest of each. */
async function watch(run: Run): Promise<{ readonly before: readonly number[]; readonly highest: number[]; stop(): void }> {
  const pids = await Promise.all(["sink-0", "bulk-0"].map(async (pod) => (await run.pod(pod)).pids.proxy ?? 0));
  const look = (pid: number): number => {
    const bytes = rssAnonBytes(pid);
    must(bytes !== null, `sidecar ${pid} is gone`);
    return bytes;
  };
  const before = pids.map(look);
  const highest = [...before];
  const timer = setInterval(() => {
    for (const [i, pid] of pids.entries()) highest[i] = Math.max(highest[i]!, rssAnonBytes(pid) ?? Number.POSITIVE_INFINITY);
  }, SAMPLE_EVERY_MS);
  return { before, highest, stop: () => clearInterval(timer) };
}

function slowReader(protocol: "http" | "tcp"): Check {
  return {
    name: `a reader over ${protocol.toUpperCase()} that pauses 20 s and then takes 1 GiB at 50 MB/s: RssAnon of both sidecars within 64 MiB of before`,
    body: async (world) => {
      const run = await world.shop();
      const sink = await bulkIsWarm(world);
      const memory = await until("both sidecars run", 10_000, () => watch(run));
      try {
        const { bytes, readingMs } = await sink.bulk({
          service: "bulk",
          protocol,
          bytes: BYTES,
          pauseMs: PAUSE_MS,
          bytesPerSecond: BYTES_PER_SECOND,
        });
        const growth = memory.highest.map((most, i) => most - memory.before[i]!);
        const mib = (n: number): string => (n / MIB).toFixed(0);
        const figures = `caller ${mib(memory.before[0]!)} + ${mib(growth[0]!)} MiB, callee ${mib(memory.before[1]!)} + ${mib(growth[1]!)} MiB`;
        const perSecond = (bytes / readingMs) * 1000;
        must(perSecond >= BYTES_PER_SECOND_MIN, `it came at ${(perSecond / 1e6).toFixed(0)} MB/s only`);
        must(
          growth.every((g) => g <= GROWTH_MAX),
          figures,
        );
        return `${figures}, ${(perSecond / 1e6).toFixed(0)} MB/s`;
      } finally {
        memory.stop();
      }
    },
  };
}

export const slowHttpReader = slowReader("http");
export const slowTcpReader = slowReader("tcp");
