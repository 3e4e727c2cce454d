import type { Measured } from "./results.ts";
import { VARIANTS } from "./rows.ts";

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
  /** From 0 to 1. */
  readonly share: number;
}

/** Parts of a profile that the table of features names. */
export const PARTS = { codec: "HTTP/1.1 codec", metrics: "metrics", policy: "routes, balancing, retries, timeouts" } as const;

/**
 * Differences between the variants, in the order in which a request meets the features; then what cannot be left out and so has
 * no variant, as shares of the plain hop's profile.
 */
export function featureCosts(measured: readonly Measured[], plainHop: readonly ProfileShare[]): FeatureCost[] {
  const us = (name: string): number => measured.find((m) => m.peer === name)?.value.median ?? Number.NaN;
  const { plainBytes, plainHttp, plainPolicy, pairOpen, pairBytes, pairHttp, pairPolicy } = VARIANTS;
  const less = (feature: string, name: string, without: string): FeatureCost => ({
    feature,
    from: `${name} − ${without}`,
    us: us(name) - us(without),
  });
  const part = (feature: string, name: string): FeatureCost => {
    const share = plainHop.find((s) => s.part === name)?.share ?? Number.NaN;
    return { feature, from: `its share of the profile of ${plainPolicy}`, us: share * us(plainPolicy) };
  };
  return [
    { feature: "forwarding bytes through one sidecar", from: plainBytes, us: us(plainBytes) },
    less("HTTP: parse, pool, balance, metrics", plainHttp, plainBytes),
    part("… of that parse and write of HTTP/1.1", PARTS.codec),
    part("… of that metrics", PARTS.metrics),
    part("… of that routes, balancing, retries, timeouts", PARTS.policy),
    less("policy: ten routes with a header match, retries, timeouts", plainPolicy, plainHttp),
    less("the second sidecar", pairOpen, plainHttp),
    less("mTLS, and frames on shared connections, between the two", pairHttp, pairOpen),
    less("policy in the mTLS pair", pairPolicy, pairHttp),
    {
      feature: "mTLS for bytes, a connection of its own for each of the client's",
      from: `${pairBytes} − 2 × ${plainBytes}`,
      us: us(pairBytes) - 2 * us(plainBytes),
    },
  ].filter((cost) => Number.isFinite(cost.us));
}
