import type { ErrorCode } from "#api/errors.ts";

/** One thing that keeps an object from being acted on. */
export interface Problem {
  /** "spec.routes[0].timeouts.backendRequest". */
  readonly path: string;
  readonly code: ErrorCode;
  /** What is wrong, no full stop. */
  readonly message: string;
  /** What to do about it, no full stop. */
  readonly remedy: string;
}

/** Collects problems below a path. */
export class Findings {
  readonly problems: Problem[] = [];

  invalid(path: string, message: string, remedy: string): void {
    this.problems.push({ path, code: "WEFT_INVALID_FIELD", message, remedy });
  }

  unsupported(path: string, message: string, remedy = "remove it"): void {
    this.problems.push({ path, code: "WEFT_UNSUPPORTED_FIELD", message, remedy });
  }
}

/** At most so many problems stand in a condition's message: more help nobody. */
const TOLD_MAX = 10;

/** "<path>: <what>. <remedy>." for each, a line each. */
export function tell(problems: readonly Pick<Problem, "path" | "message" | "remedy">[]): string {
  const lines = problems.slice(0, TOLD_MAX).map(({ path, message, remedy }) => `${path}: ${stop(message)} ${stop(capital(remedy))}`);
  if (problems.length > TOLD_MAX) lines.push(`And ${problems.length - TOLD_MAX} more.`);
  return lines.join("\n");
}

function stop(sentence: string): string {
  return /[.?!]$/.test(sentence) ? sentence : `${sentence}.`;
}

function capital(sentence: string): string {
  return sentence.slice(0, 1).toUpperCase() + sentence.slice(1);
}
