import type { Faults, Fraction } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { CompiledRoute } from "./compile.ts";

/** What a policy wants to go wrong on purpose with one request. Both may be set: first the delay, then the answer. */
export interface FaultDecision {
  /** 0: none. */
  readonly delayMs: number;
  /** The request is answered so and never sent; 0: none. */
  readonly abortStatus: number;
}

export interface CompiledFaults {
  /** Share of requests, 0 to 1. */
  readonly delayShare: number;
  readonly abortShare: number;
  /** The four possible decisions, made beforehand. */
  readonly delay: FaultDecision;
  readonly abort: FaultDecision;
  readonly both: FaultDecision;
}

const NO_FAULT: FaultDecision = { delayMs: 0, abortStatus: 0 };

export function compileFaults(faults: Faults | undefined): CompiledFaults | null {
  const delayMs = faults?.delay?.durationMs ?? 0;
  const status = faults?.abort?.status ?? 0;
  // Only a final status can be an answer.
  const abortStatus = status >= 200 && status <= 999 ? status : 0;
  const delayShare = delayMs === 0 ? 0 : shareOf(faults?.delay?.fraction);
  const abortShare = abortStatus === 0 ? 0 : shareOf(faults?.abort?.fraction);
  if (delayShare === 0 && abortShare === 0) return null;
  return {
    delayShare,
    abortShare,
    delay: { delayMs, abortStatus: 0 },
    abort: { delayMs: 0, abortStatus },
    both: { delayMs, abortStatus },
  };
}

/** No fraction at all: every request. A denominator of 0, which no document has: none. */
function shareOf(fraction: Fraction | undefined): number {
  if (fraction === undefined) return 1;
  return fraction.denominator === 0 ? 0 : Math.min(1, fraction.numerator / fraction.denominator);
}

/** `delayDraw` and `abortDraw` from [0, 1), independent of each other. */
export function decideFaults(route: CompiledRoute, delayDraw: number, abortDraw: number): FaultDecision {
  const { faults } = route;
  if (faults === null) return NO_FAULT;
  const delayed = delayDraw < faults.delayShare;
  const aborted = abortDraw < faults.abortShare;
  if (delayed) return aborted ? faults.both : faults.delay;
  return aborted ? faults.abort : NO_FAULT;
}
