import type { Ground, Target } from "./peers/target.ts";
import { WeftRun } from "./peers/weft.ts";
import { MESH, type Peer, type Row } from "./rows.ts";
import { type Measured, measuredOf } from "./results.ts";
import { cpuNs } from "./usage.ts";

/** Units before the first measurement: for Node's peers until what runs often is compiled, for the others until connections are open. */
const WARM_NODE = 20_000;
const WARM_OTHER = 2_000;
/** A handshake costs as much as a hundred requests. */
const WARM_FRESH = 1_500;
const CHUNK = 4_000;
const CHUNK_FRESH = 100;
/** A peer too slow for its warm-up within this is measured as it then is. */
const WARM_SECONDS = 15;
/** A round measures each peer so many times, in turn, for about so long: what slows the machine for a second then hits all alike. */
const SLICES = 3;
const SLICE_SECONDS = 1;
const SLICE_MIN = 50;

export type Say = (line: string) => void;

export interface Plan {
  readonly rounds: number;
  /** Only these peers; null: all. */
  readonly peers: ReadonlySet<string> | null;
  readonly say: Say;
  /** From this moment of `performance.now()` on each row gets its first round only. */
  readonly deadlineMs: number;
}

/** Whether round `round` may begin; says it when not. */
export function timeFor(round: number, { rounds, deadlineMs, say }: Plan): boolean {
  if (round === 1 || performance.now() < deadlineMs) return true;
  say(`  no more than ${round - 1} of ${rounds} rounds: the time is up`);
  return false;
}

interface Ready {
  readonly peer: Peer;
  readonly target: Target;
  /** Units of one slice. */
  readonly count: number;
  /** CPU µs per unit, per round; null: that round failed. */
  readonly values: (number | null)[];
}

/** CPU µs per unit for every peer of a row. A peer that fails is left out, and said so; the others go on. */
export async function measureRow(ground: Ground, row: Row, plan: Plan): Promise<Measured[]> {
  const { rounds, peers, say } = plan;
  let run: Promise<WeftRun> | null = null;
  const mesh = (): Promise<WeftRun> => (run ??= WeftRun.start(ground, MESH));
  const ready: Ready[] = [];
  try {
    for (const peer of row.peers) {
      if ((peers !== null && !peers.has(peer.name)) || !installed(ground, peer.name)) continue;
      const one = await prepare(ground, row, peer, mesh, say);
      if (one !== null) ready.push(one);
    }
    for (let round = 1; round <= rounds && timeFor(round, plan); round++) {
      const values = await measureRound(ground, row, ready, say);
      for (const [i, one] of ready.entries()) one.values.push(values[i] ?? null);
      say(`  round ${round}/${rounds}: ${ready.map((one, i) => `${one.peer.name} ${values[i]?.toFixed(1) ?? "failed"}`).join(", ")} µs`);
    }
  } finally {
    await ground.processes.stopAll();
  }
  const reference = ready.find((one) => one.peer.name === row.threshold?.reference)?.values ?? [];
  return ready.flatMap(({ peer, values }) => measuredOf(peer.name, "cpuUsPerRequest", values, reference));
}

/** Peers that are not installed were spoken of at the start, once. */
function installed(ground: Ground, name: string): boolean {
  return !(name.startsWith("envoy") && ground.envoy === null) && !(name.startsWith("haproxy") && !ground.haproxy);
}

/** Starts a peer, warms it up and finds how many units a slice takes. Null, after saying why: it cannot be measured. */
async function prepare(ground: Ground, row: Row, peer: Peer, mesh: () => Promise<WeftRun>, say: Say): Promise<Ready | null> {
  try {
    const target = await peer.start(ground, mesh);
    const wanted = row.unit === "connection" ? WARM_FRESH : peer.node ? WARM_NODE : WARM_OTHER;
    const chunk = row.unit === "connection" ? CHUNK_FRESH : CHUNK;
    let [done, seconds, rate] = [0, 0, 0];
    while (done < wanted && seconds < WARM_SECONDS) {
      const result = await row.load(ground, target, Math.min(chunk, wanted - done));
      done += result.done;
      seconds += result.seconds;
      rate = result.done / result.seconds;
    }
    say(`  ${peer.name}: warm after ${done} ${row.unit}s, ${Math.round(rate)} a second`);
    return { peer, target, count: Math.max(SLICE_MIN, Math.round(rate * SLICE_SECONDS)), values: [] };
  } catch (error) {
    if (ground.processes.closed) throw error;
    say(`  ${peer.name} is left out: ${(error as Error).message}`);
    return null;
  }
}

/** CPU µs per unit of each, over the slices of one round. Null for one of which a slice failed. */
async function measureRound(ground: Ground, row: Row, ready: readonly Ready[], say: Say): Promise<(number | null)[]> {
  const sums = ready.map(() => ({ cpuNs: 0, done: 0, failed: false }));
  for (let slice = 0; slice < SLICES; slice++) {
    for (const [i, { peer, target, count }] of ready.entries()) {
      const sum = sums[i]!;
      if (sum.failed) continue;
      try {
        const before = cpuNs(target.pids);
        const { done } = await row.load(ground, target, count);
        sum.cpuNs += cpuNs(target.pids) - before;
        sum.done += done;
      } catch (error) {
        if (ground.processes.closed) throw error;
        say(`  ${peer.name} failed in this round: ${(error as Error).message}`);
        sum.failed = true;
      }
    }
  }
  return sums.map((sum) => (sum.failed ? null : sum.cpuNs / 1000 / sum.done));
}
