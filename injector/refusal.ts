import { type Problem, tell } from "#mesh/plan/problem.ts";
import type { Verdict } from "./review.ts";

/** Refuses with the problems' paths, what is wrong and what to do; there is at least one. */
export function refusal(problems: readonly Problem[], status: 403 | 422): Verdict {
  const code = problems[0]?.code ?? "WEFT_INVALID_FIELD";
  return {
    allowed: false,
    outcome: "refused",
    status,
    code,
    message: `${code}: ${tell(problems)}`,
    fields: problems.map(({ path, message }) => ({ path, message })),
  };
}
