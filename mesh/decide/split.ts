import type { CompiledBackend, CompiledRoute } from "./compile.ts";

/**
 * The backend at point `r` of [0, 1): the interval is divided among the backends by their weights, in
 * their order. Null when the route has none, or all weights are 0: the request is answered 500. The
 * result may be `unresolved`, which is answered 500 as well.
 */
export function pickBackend(route: CompiledRoute, r: number): CompiledBackend | null {
  const { backends, cumulative, totalWeight } = route;
  if (totalWeight === 0) return null;
  if (backends.length === 1) return backends[0] as CompiledBackend;
  const point = r * totalWeight;
  for (let i = 0; i < cumulative.length; i++) {
    // A weight of 0 adds nothing to the sum, so its interval is empty.
    if (point < (cumulative[i] as number)) return backends[i] as CompiledBackend;
  }
  // r * total can round up to total.
  return backends.findLast(({ weight }) => weight > 0) ?? null;
}

/** 2^32 divided by the golden ratio, made odd: the step that spreads the points of any run of calls best. */
const STEP = 0x9e3779b9;

/**
 * Points for `pickBackend` that are spread more evenly than random ones: of any n in a row, the share that
 * falls on a backend is off by O(log n) requests, not by √n. So ten requests already show a 90/10 split.
 * One sequence a route: two routes that share one would disturb each other's spread.
 */
export class SplitSequence {
  #state: number;

  /** `seed` in [0, 1), another one for each proxy: proxies that started together must not send their first requests all to one backend. */
  constructor(seed: number) {
    this.#state = Math.floor(seed * 0x1_0000_0000) >>> 0;
  }

  next(): number {
    this.#state = (this.#state + STEP) >>> 0;
    return this.#state / 0x1_0000_0000;
  }
}
