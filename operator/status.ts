import type { PolicyAncestorStatus } from "#api/resources/gep.ts";
import { ANCESTORS_MAX } from "#api/resources/gep.ts";
import type { Condition } from "#api/resources/kube.ts";
import type { PlannedAncestor, PlannedCondition, PlannedStatus } from "#mesh/plan/plan.ts";
import type { ProgrammedVerdict } from "./programmed.ts";

/** Who says it, in status.ancestors (GEP-713). */
export const CONTROLLER_NAME = "weft.dev/operator";

/** What is said together: of one ancestor, or of the object itself. */
export interface StatusPart {
  readonly ancestor: PlannedAncestor | null;
  readonly conditions: readonly PlannedCondition[];
  readonly documents: readonly string[];
}

export function partsOf(planned: PlannedStatus): StatusPart[] {
  if (planned.ancestors === null) return [{ ancestor: null, conditions: planned.conditions ?? [], documents: planned.documents }];
  return planned.ancestors.map((ancestor) => ({ ancestor, conditions: ancestor.conditions, documents: ancestor.documents }));
}

/** Only what is accepted can become programmed. */
export function isAccepted(part: StatusPart): boolean {
  return part.conditions.some((c) => c.type === "Accepted" && c.status === "True");
}

/**
 * The status to store. `verdicts` has Programmed of each part, null where it is not accepted. `before` is the status
 * as it stands (of any shape: others may have written it): a condition that stays keeps its time of transition, and
 * what other controllers say of the policy is left as it is.
 */
export function buildStatus(
  planned: PlannedStatus,
  verdicts: readonly (ProgrammedVerdict | null)[],
  before: unknown,
  now: string,
): unknown {
  const built = partsOf(planned).map((part, i) => {
    const said: readonly (PlannedCondition | (ProgrammedVerdict & { type: "Programmed" }))[] = [
      ...part.conditions,
      ...withType(verdicts[i] ?? null),
    ];
    const earlier = storedConditions(before, part);
    return said.map((condition) => stamp(condition, earlier, planned.generation, now));
  });
  if (planned.ancestors === null) return { conditions: built[0] ?? [] };
  const ours = planned.ancestors.map((ancestor, i) => ({
    ancestorRef: ancestor.ancestorRef,
    controllerName: CONTROLLER_NAME,
    conditions: built[i] ?? [],
  }));
  const others = storedAncestors(before).filter((a) => a.controllerName !== CONTROLLER_NAME);
  return { ancestors: [...others, ...ours].slice(0, ANCESTORS_MAX) };
}

/** Programmed as it is stored for this generation, when it is True: that is said once and holds. */
export function storedVerdict(before: unknown, part: StatusPart, generation: number): ProgrammedVerdict | null {
  const found = storedConditions(before, part).find(
    (c) => c.type === "Programmed" && c.status === "True" && c.observedGeneration === generation,
  );
  if (found === undefined || (found.reason !== "Programmed" && found.reason !== "NoSubscribers")) return null;
  return { status: "True", reason: found.reason, message: found.message };
}

function stamp(
  said: { type: string; status: "True" | "False"; reason: string; message: string },
  earlier: readonly Condition[],
  generation: number,
  now: string,
): Condition {
  const before = earlier.find((c) => c.type === said.type);
  const lastTransitionTime =
    before !== undefined && before.status === said.status && typeof before.lastTransitionTime === "string"
      ? before.lastTransitionTime
      : now;
  return {
    type: said.type,
    status: said.status,
    reason: said.reason,
    message: said.message,
    observedGeneration: generation,
    lastTransitionTime,
  };
}

function withType(verdict: ProgrammedVerdict | null): (ProgrammedVerdict & { type: "Programmed" })[] {
  return verdict === null ? [] : [{ ...verdict, type: "Programmed" }];
}

function storedConditions(status: unknown, part: StatusPart): readonly Condition[] {
  const wanted = part.ancestor === null ? null : JSON.stringify(refKey(part.ancestor.ancestorRef));
  const holder =
    wanted === null
      ? status
      : storedAncestors(status).find((a) => a.controllerName === CONTROLLER_NAME && JSON.stringify(refKey(a.ancestorRef)) === wanted);
  const conditions = (holder as { conditions?: unknown } | null | undefined)?.conditions;
  return Array.isArray(conditions) ? conditions.filter((c): c is Condition => typeof c === "object" && c !== null) : [];
}

function storedAncestors(status: unknown): PolicyAncestorStatus[] {
  const ancestors = (status as { ancestors?: unknown } | null | undefined)?.ancestors;
  return Array.isArray(ancestors) ? ancestors.filter((a): a is PolicyAncestorStatus => typeof a === "object" && a !== null) : [];
}

/** Fields in one order, whoever wrote them. */
function refKey(ref: PolicyAncestorStatus["ancestorRef"] | null | undefined): readonly unknown[] {
  return [ref?.group ?? "", ref?.kind ?? "", ref?.namespace ?? "", ref?.name ?? "", ref?.sectionName ?? "", ref?.port ?? 0];
}
