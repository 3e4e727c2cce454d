/** Milliseconds of the machine's monotonic clock: the same in every process, so moments of two processes compare. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** How long an experiment goes on; for conditions there is `until`. */
export function during(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, Math.max(0, ms)));
}

/** Looks again and again until `look` gives something that is not null or false. Rejects after `withinMs`, naming `what`. */
export async function until<T>(
  what: string,
  withinMs: number,
  look: () => T | null | false | Promise<T | null | false>,
  everyMs = 50,
): Promise<T> {
  const startMs = monotonicMs();
  let last = "";
  for (;;) {
    try {
      const found = await look();
      if (found !== null && found !== false) return found;
      last = "";
    } catch (error) {
      last = `, lastly: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (monotonicMs() - startMs > withinMs) throw new Error(`${what}: not within ${seconds(withinMs)} s${last}`);
    await during(everyMs);
  }
}

export function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

/** Throws with `message` unless `condition` holds. */
export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
