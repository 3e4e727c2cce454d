/** The middle value; of an even number of them, the mean of the two in the middle. Null of none. */
export function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half];
  if (upper === undefined) return null;
  return sorted.length % 2 === 1 ? upper : (sorted[half - 1]! + upper) / 2;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Null of none. */
export function spread(values: readonly number[]): Spread | null {
  const middle = median(values);
  return middle === null ? null : { median: middle, min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Each value over the reference's of the same round. Machines slow down and recover over minutes: what two peers took in
 * one round compares, what they took in different rounds does not. A round that lacks one of the two gives nothing.
 */
export function ratios(values: readonly (number | null)[], reference: readonly (number | null)[]): number[] {
  return values.flatMap((value, round) => {
    const base = reference[round];
    return value === null || base === null || base === undefined || base === 0 ? [] : [value / base];
  });
}
