import type { Entry } from "./entry.ts";
import type { ServiceFacts } from "./facts.ts";
import type { TrafficPolicySpec } from "./kinds.ts";
import { oldestFirst } from "./order.ts";
import type { ResourceIndex } from "./resource-index.ts";

/** Which TrafficPolicy holds for a Service: targets, last good generations and conflicts (GEP-713). */

export interface Target {
  /** "namespace/name" of the Service: always in the policy's own namespace. */
  readonly service: string;
  /** Name of one of its ports, or "" for the whole Service. */
  readonly section: string;
}

/** A policy in force on a target: the generation that applies there may be the last good one. */
export interface Attached {
  readonly entry: Entry<TrafficPolicySpec>;
  readonly spec: TrafficPolicySpec;
}

export function targetsOf(spec: TrafficPolicySpec | null, namespace: string): Target[] {
  return (spec?.targetRefs ?? []).map((ref) => ({ service: `${namespace}/${ref.name}`, section: ref.sectionName ?? "" }));
}

/** Keys of the other Services that the policy's routes send to. */
export function backendsOf(spec: TrafficPolicySpec | null, namespace: string): Set<string> {
  const services = new Set<string>();
  for (const route of spec?.routes ?? []) {
    for (const ref of route.backendRefs ?? []) if (ref.name !== undefined) services.add(`${ref.namespace ?? namespace}/${ref.name}`);
  }
  return services;
}

/** The policy for one port of a Service: one that targets the port, else one that targets the Service; among several the oldest. */
export function policyFor(index: ResourceIndex, service: ServiceFacts, portName: string): Attached | null {
  const ofPort = portName === "" ? undefined : claims(index, { service: service.key, section: portName })[0];
  return ofPort ?? claims(index, { service: service.key, section: "" })[0] ?? null;
}

/** Every policy that is good for the target, the one that holds first. */
export function claims(index: ResourceIndex, target: Target): Attached[] {
  const result: Attached[] = [];
  for (const entry of index.traffic.at(index.policiesOfTarget, target.service)) {
    const spec = specOn(index, entry, target);
    if (spec !== null) result.push({ entry, spec });
  }
  return result.sort((a, b) => oldestFirst(a.entry, b.entry));
}

/** What the policy says for the target: its current generation where that can hold, else the last good one where that did. */
function specOn(index: ResourceIndex, entry: Entry<TrafficPolicySpec>, target: Target): TrafficPolicySpec | null {
  const { current, lastGood } = entry;
  if (current !== null) {
    if (!hasTarget(current, entry.namespace, target)) return null;
    if (canHold(index, current, target)) return current;
  }
  return lastGood !== null && hasTarget(lastGood, entry.namespace, target) && canHold(index, lastGood, target) ? lastGood : null;
}

function hasTarget(spec: TrafficPolicySpec, namespace: string, target: Target): boolean {
  return targetsOf(spec, namespace).some((own) => own.service === target.service && own.section === target.section);
}

/** False when the policy has routes and nothing of the target speaks HTTP. A target that does not exist (yet) refuses nothing. */
export function canHold(index: ResourceIndex, spec: TrafficPolicySpec, target: Target): boolean {
  const service = index.services.get(target.service);
  if ((spec.routes ?? []).length === 0 || service === undefined) return true;
  const ports = service.ports.filter((port) => target.section === "" || port.name === target.section);
  // A port that does not exist is "target not found", which is said elsewhere.
  return ports.some((port) => port.http) || (ports.length === 0 && target.section !== "");
}
