import type { Condition } from "./kube.ts";

/** GEP-713's words for what a policy's status says: condition types, reasons, ancestors. */

export const CONDITION_TYPES = ["Accepted", "ResolvedRefs", "Programmed"] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

/**
 * Reasons, by condition. The first is that of True. Invalid carries WEFT_INVALID_FIELD or WEFT_UNKNOWN_FIELD in its
 * message, UnsupportedField a field that this version does not act on, NoSubscribers a generation that nobody needs.
 */
export const CONDITION_REASONS = {
  Accepted: ["Accepted", "Invalid", "UnsupportedField", "Conflicted", "TargetNotFound"],
  ResolvedRefs: ["ResolvedRefs", "BackendNotFound", "EmptySubset", "RefNotPermitted"],
  Programmed: ["Programmed", "NoSubscribers", "Pending", "Rejected"],
} as const;
export type ConditionReason = (typeof CONDITION_REASONS)[ConditionType][number];

/** A reference to what a policy attaches to. Group "" is the core group. */
export interface AncestorRef {
  readonly group?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name: string;
  readonly sectionName?: string;
  readonly port?: number;
}

/** What one controller says of a policy on one target; at most ANCESTORS_MAX a policy. */
export interface PolicyAncestorStatus {
  readonly ancestorRef: AncestorRef;
  readonly controllerName: string;
  readonly conditions?: readonly Condition[];
}

export interface PolicyStatus {
  readonly ancestors: readonly PolicyAncestorStatus[];
}

export const ANCESTORS_MAX = 16;
