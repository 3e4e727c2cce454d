import { parseDuration } from "#api/duration.ts";
import type { Findings } from "./problem.ts";

/** Milliseconds of a field, of its default where it is absent; null where it is no duration (the schema says so). */
export function msOr(value: unknown, fallback: string): number | null {
  return parseDuration(value === undefined ? fallback : typeof value === "string" ? value : "");
}

/** Bounds of a duration, both allowed; an absent or unreadable one passes. */
export function checkWithin(findings: Findings, path: string, value: unknown, least: string, most: string): void {
  const ms = typeof value === "string" ? parseDuration(value) : null;
  if (ms === null || (ms >= (parseDuration(least) ?? 0) && ms <= (parseDuration(most) ?? 0))) return;
  findings.invalid(path, `${value as string} is not from ${least} to ${most}`, `write a duration from ${least} to ${most}`);
}
