import type { Random } from "#api/clock.ts";
import type { Load } from "./load.ts";

/** Anything that can be picked. */
export interface Candidate {
  readonly load: Load;
  /** False: only picked when no ready one is left to try. */
  readonly ready: boolean;
}

/**
 * Chooses an endpoint. `tried` are those that this request already failed on: they are avoided while
 * there is another. Undefined: there is none at all.
 */
export interface Picker {
  pick<C extends Candidate>(candidates: readonly C[], tried: readonly C[], nowMs: number, random: Random): C | undefined;
}

/** Candidates that are ready and were not tried; failing that, ready ones. */
function eligible<C extends Candidate>(candidates: readonly C[], tried: readonly C[]): readonly C[] {
  if (tried.length === 0) {
    for (const c of candidates) if (!c.ready) return candidates.filter((x) => x.ready);
    return candidates;
  }
  const ready = candidates.filter((c) => c.ready);
  const fresh = ready.filter((c) => !tried.includes(c));
  return fresh.length > 0 ? fresh : ready;
}

/** Power of two choices by Peak EWMA cost (Mitzenmacher 2001): two at random, the cheaper one wins. */
export class PeakEwmaPicker implements Picker {
  pick<C extends Candidate>(candidates: readonly C[], tried: readonly C[], nowMs: number, random: Random): C | undefined {
    const from = eligible(candidates, tried);
    const n = from.length;
    if (n <= 1) return from[0];
    const i = Math.floor(random() * n);
    let j = Math.floor(random() * (n - 1));
    if (j >= i) j++;
    const a = from[i] as C;
    const b = from[j] as C;
    return b.load.cost(nowMs) < a.load.cost(nowMs) ? b : a;
  }
}

/** Each in turn. The turn starts at a random place, so that proxies started together do not march in step. */
export class RoundRobinPicker implements Picker {
  private turn = -1;

  pick<C extends Candidate>(candidates: readonly C[], tried: readonly C[], _nowMs: number, random: Random): C | undefined {
    const from = eligible(candidates, tried);
    if (from.length === 0) return undefined;
    if (this.turn < 0) this.turn = Math.floor(random() * from.length);
    this.turn = (this.turn + 1) % from.length;
    return from[this.turn];
  }
}
