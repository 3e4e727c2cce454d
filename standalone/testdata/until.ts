/** Resolves once `condition` holds, with what it gave; rejects after `ms` with `what` and the last reason. */
export async function until<T>(what: string, condition: () => Promise<T> | T, ms = 15_000): Promise<NonNullable<T>> {
  const deadline = performance.now() + ms;
  let last: unknown = null;
  for (;;) {
    try {
      const value = await condition();
      if (value !== null && value !== undefined && value !== false) return value as NonNullable<T>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${what}${last === null ? "" : ` (${String(last)})`}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
