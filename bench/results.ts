import { ratios, type Spread, spread } from "./statistics.ts";

export type Metric = "cpuUsPerRequest" | "rssMiB" | "rssAnonMiB";

/** One metric of one peer of one row. */
export interface Measured {
  readonly peer: string;
  readonly metric: Metric;
  readonly rounds: number;
  readonly value: Spread;
  /** To the reference of the same round. Null where there is none to compare with. */
  readonly ratio: Spread | null;
}

/** Nothing, when no round gave a value. */
export function measuredOf(
  peer: string,
  metric: Metric,
  values: readonly (number | null)[],
  reference: readonly (number | null)[],
): Measured[] {
  const present = values.filter((v) => v !== null);
  const value = spread(present);
  return value === null ? [] : [{ peer, metric, rounds: present.length, value, ratio: spread(ratios(values, reference)) }];
}

/** A line of results/latest.json. */
export interface Result extends Spread {
  readonly row: string;
  readonly workload: string;
  readonly peer: string;
  readonly metric: Metric;
  /** Median of the ratios of the rounds, to the variant of Envoy that the threshold names. */
  readonly ratioToEnvoy: number | null;
  readonly ratioMin: number | null;
  readonly ratioMax: number | null;
  readonly rounds: number;
}

export function resultOf(row: string, workload: string, { peer, metric, rounds, value, ratio }: Measured): Result {
  return {
    row,
    workload,
    peer,
    metric,
    median: round(value.median),
    min: round(value.min),
    max: round(value.max),
    ratioToEnvoy: round(ratio?.median ?? null),
    ratioMin: round(ratio?.min ?? null),
    ratioMax: round(ratio?.max ?? null),
    rounds,
  };
}

function round(value: number): number;
function round(value: number | null): number | null;
function round(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1000) / 1000;
}

/** How high Weft's ratio may be, and how high it is meant to be. */
export interface Threshold {
  readonly reference: string;
  readonly limit: number;
  readonly aim?: number | undefined;
}

/** "pass: 0.63 of envoy-h1 (0.60 to 0.66), limit 0.9, aim 0.65". */
export function verdict({ reference, limit, aim }: Threshold, measured: readonly Measured[]): string {
  const ratio = measured.find((m) => m.peer === "weft" && m.metric !== "rssAnonMiB")?.ratio;
  if (ratio == null) return `no verdict: the ratio of weft to ${reference} was not measured`;
  const { median, min, max } = ratio;
  const bounds = `limit ${limit}${aim === undefined ? "" : `, aim ${aim}`}`;
  return `${median <= limit ? "pass" : "MISS"}: ${median.toFixed(2)} of ${reference} (${min.toFixed(2)} to ${max.toFixed(2)}), ${bounds}`;
}
