import type { Measured } from "./results.ts";
import { VARIANTS } from "./rows.ts";
import { spread } from "./statistics.ts";

/** What one feature adds to a request, µs of CPU. */
export interface FeatureCost {
  readonly feature: string;
  /** How it was found. */
  readonly from: string;
  readonly us: number;
}

/** A share of a sidecar's CPU time, by part of its source. */
export interface ProfileShare {
  readonly part: string;
  readonly share: number;
}

/** The differences between the variants, in the order in which a request meets the features. */
export function featureCosts(measured: readonly Measured[]): FeatureCost[] {
  const us = (name: string): number | null => measured.find((m) => m.peer === name)?.value.median ?? null;
  const { plainBytes, plainHttp, plainPolicy, pairBytes, pairHttp, pairPolicy } = VARIANTS;
  const costs: FeatureCost[] = [];
  const add = (feature: string, from: string, value: number | null): void => {
    if (value !== null) costs.push({ feature, from, us: value });
  };
  add("forwarding bytes, one hop", plainBytes, us(plainBytes));
  add("HTTP: parse, balance, pool, metrics", `${plainHttp} − ${plainBytes}`, minus(us(plainHttp), us(plainBytes)));
  add("policy: ten routes tried, retries, timeouts", `${plainPolicy} − ${plainHttp}`, minus(us(plainPolicy), us(plainHttp)));
  add("mTLS on one connection each, both ends", `${pairBytes} − 2 × ${plainBytes}`, minus(us(pairBytes), twice(us(plainBytes))));
  add("second sidecar, HTTP on shared mTLS connections", `${pairHttp} − ${plainHttp}`, minus(us(pairHttp), us(plainHttp)));
  add("policy in the pair", `${pairPolicy} − ${pairHttp}`, minus(us(pairPolicy), us(pairHttp)));
  return costs;
}

function minus(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : (spread([a - b])?.median ?? null);
}

function twice(value: number | null): number | null {
  return value === null ? null : 2 * value;
}
