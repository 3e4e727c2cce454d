import type { AncestorRef, ConditionReason, ConditionType } from "#api/resources/gep.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { ObjectRef } from "#api/store.ts";
import type { Entry } from "./entry.ts";
import { readMeta, record, text } from "./facts.ts";
import { type Problem, tell } from "./problem.ts";

/** The words of a status. When it was said, and Programmed, are the writer's: they need a clock and the proxies' acks. */

export interface PlannedCondition {
  readonly type: ConditionType;
  readonly status: "True" | "False";
  readonly reason: ConditionReason;
  /** "<path>: <what>. <remedy>.", a line for each problem; a short sentence when all is well. */
  readonly message: string;
}

/** What is said of a policy on one target. */
export interface PlannedAncestor {
  readonly ancestorRef: AncestorRef;
  readonly conditions: readonly PlannedCondition[];
  /** Documents that carry the policy to proxies: Programmed follows from the acks of these. Empty when it is not in force. */
  readonly documents: readonly string[];
}

/** Status of one object. Exactly one of `ancestors` (policies with targets, GEP-713) and `conditions` is not null. */
export interface PlannedStatus {
  readonly ref: ObjectRef;
  /** metadata.generation that this is said of. */
  readonly generation: number;
  readonly ancestors: readonly PlannedAncestor[] | null;
  readonly conditions: readonly PlannedCondition[] | null;
  /** Documents that carry the object to proxies, over all its ancestors. */
  readonly documents: readonly string[];
}

export function refOf(object: KubeObject): ObjectRef {
  const meta = readMeta(object);
  const uid = text(record(object.metadata)["uid"]);
  return { apiVersion: object.apiVersion, kind: object.kind, namespace: meta?.namespace ?? "", name: meta?.name ?? "", uid };
}

export function generationOf(object: KubeObject): number {
  const generation = record(object.metadata)["generation"];
  return typeof generation === "number" && Number.isSafeInteger(generation) && generation > 0 ? generation : 0;
}

export function accepted(message = "it is in force"): PlannedCondition {
  return { type: "Accepted", status: "True", reason: "Accepted", message: `${message.slice(0, 1).toUpperCase()}${message.slice(1)}.` };
}

export function refused(
  reason: ConditionReason,
  problems: readonly Pick<Problem, "path" | "message" | "remedy">[],
  then = "",
): PlannedCondition {
  return { type: "Accepted", status: "False", reason, message: then === "" ? tell(problems) : `${tell(problems)}\n${then}` };
}

/** Accepted of an object that is refused by itself; null when it is not. Anything invalid outweighs what is merely unsupported. */
export function refusedByItself(entry: Entry<unknown>, isInForce: boolean): PlannedCondition | null {
  if (entry.problems.length === 0) return null;
  const isInvalid = entry.problems.some(({ code }) => code !== "WEFT_UNSUPPORTED_FIELD");
  return refused(isInvalid ? "Invalid" : "UnsupportedField", entry.problems, isInForce ? whatHolds(entry) : "");
}

/** What is in force in place of a refused generation. */
export function whatHolds(entry: Entry<unknown>): string {
  if (entry.lastGoodObject === null) return "";
  const generation = generationOf(entry.lastGoodObject);
  return generation === 0 ? "What it said before stays in force." : `Generation ${generation} stays in force.`;
}

export function ancestorStatus(object: KubeObject, ancestors: readonly PlannedAncestor[]): PlannedStatus {
  const documents = [...new Set(ancestors.flatMap((ancestor) => ancestor.documents))].sort();
  return { ref: refOf(object), generation: generationOf(object), ancestors, conditions: null, documents };
}

export function conditionStatus(object: KubeObject, conditions: readonly PlannedCondition[], documents: readonly string[]): PlannedStatus {
  return { ref: refOf(object), generation: generationOf(object), ancestors: null, conditions, documents: [...documents].sort() };
}
