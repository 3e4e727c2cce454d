/** Durations as Gateway API writes them (GEP-2257): "1h30m", "250ms", "0s". The largest unit is h; signs and fractions do not exist. */

/** One to four groups of at most five digits, each with its unit. Any order of units, as GEP-2257 has it. */
export const DURATION_PATTERN = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/** Four groups of five digits and a two-letter unit. */
export const DURATION_LENGTH_MAX = 28;

const DURATION = new RegExp(DURATION_PATTERN);
const GROUP = /([0-9]+)(ms|h|m|s)/g;
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
const UNITS = ["h", "m", "s", "ms"] as const;
const DIGITS_MAX = 99_999;

/** Milliseconds, exact; null when the text is no GEP-2257 duration. Repeated units add up ("1s1s" is 2000), as in Go. */
export function parseDuration(text: string): number | null {
  if (!DURATION.test(text)) return null;
  let ms = 0;
  for (const [, digits, unit] of text.matchAll(GROUP)) ms += Number(digits) * (UNIT_MS[unit ?? ""] ?? 0);
  return ms;
}

/**
 * Milliseconds of a text that the schema has already accepted or that is a default of ours.
 * Throws RangeError on anything else: that is a bug of the caller, never a user's input.
 */
export function durationMs(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new RangeError(`not a GEP-2257 duration: ${text}`);
  return ms;
}

/**
 * The shortest usual spelling: "1h30m", "1s500ms", "0s"; parsing it gives `ms` again. Hours beyond five
 * digits carry on in a further group of hours. Throws RangeError unless `ms` is a whole number from 0 to
 * what four groups can say.
 */
export function formatDuration(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new RangeError(`not a whole number of milliseconds: ${ms}`);
  if (ms === 0) return "0s";
  let left = ms;
  let text = "";
  for (const unit of UNITS) {
    const unitMs = UNIT_MS[unit] ?? 1;
    let count = Math.floor(left / unitMs);
    left -= count * unitMs;
    for (; count > DIGITS_MAX; count -= DIGITS_MAX) text += `${DIGITS_MAX}${unit}`;
    if (count > 0) text += `${count}${unit}`;
  }
  if (!DURATION.test(text)) throw new RangeError(`longer than a GEP-2257 duration can say: ${ms} ms`);
  return text;
}
