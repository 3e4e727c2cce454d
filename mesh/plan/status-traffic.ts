import { type AncestorRef, ANCESTORS_MAX } from "#api/resources/gep.ts";
import { canHold, claims, policyFor, type Target, targetsOf } from "./attach.ts";
import { BackendResolver, isResolved, type Unresolved } from "./backends.ts";
import { Newest } from "./documents.ts";
import type { Entry } from "./entry.ts";
import { list, record, type ServiceFacts, text } from "./facts.ts";
import { endpointsKey, serviceKey } from "./keys.ts";
import type { TrafficPolicySpec } from "./kinds.ts";
import type { Problem } from "./problem.ts";
import type { ResourceIndex } from "./resource-index.ts";
import {
  accepted,
  ancestorStatus,
  type PlannedAncestor,
  type PlannedCondition,
  type PlannedStatus,
  refused,
  refusedByItself,
  whatHolds,
} from "./status.ts";

/** Status of a TrafficPolicy: one ancestor a target (GEP-713). */
export function planTrafficStatus(index: ResourceIndex, entry: Entry<TrafficPolicySpec>): PlannedStatus {
  const spec = entry.current;
  const own = refusedByItself(entry, isInForce(index, entry, targetsOf(entry.lastGood, entry.namespace)));
  if (spec === null || own !== null) {
    const condition = own ?? refused("Invalid", [{ path: "spec", message: "cannot be read", remedy: "correct it" }]);
    return ancestorStatus(
      entry.object,
      writtenTargets(entry).map((ancestorRef) => ({ ancestorRef, conditions: [condition], documents: [] })),
    );
  }
  const ancestors = targetsOf(spec, entry.namespace).map((target, position) => planAncestor(index, entry, spec, target, position));
  return ancestorStatus(entry.object, ancestors);
}

/** Whether some generation of the policy holds on one of the targets. */
function isInForce(index: ResourceIndex, entry: Entry<TrafficPolicySpec>, targets: readonly Target[]): boolean {
  return targets.some((target) => claims(index, target)[0]?.entry.key === entry.key);
}

/** The targets as far as a refused object lets them be read; the object itself where it names none. */
export function writtenTargets(entry: Entry<unknown>): AncestorRef[] {
  const refs: AncestorRef[] = [];
  for (const item of list(record(entry.object.spec)["targetRefs"])) {
    const { group, kind, name, sectionName } = record(item);
    if (!isShort(name, 253) || !isShort(kind, 63) || refs.length === ANCESTORS_MAX) continue;
    refs.push({
      group: isShort(group, 253) ? group : "",
      kind,
      namespace: entry.namespace,
      name,
      ...(isShort(sectionName, 253) ? { sectionName } : {}),
    });
  }
  if (refs.length > 0) return refs;
  return [{ group: entry.object.apiVersion.split("/")[0] ?? "", kind: entry.kind, namespace: entry.namespace, name: entry.name }];
}

/** The API server refuses a status whose texts are longer than its schema says. */
function isShort(value: unknown, most: number): value is string {
  return text(value) !== "" && text(value).length <= most;
}

function planAncestor(
  index: ResourceIndex,
  entry: Entry<TrafficPolicySpec>,
  spec: TrafficPolicySpec,
  target: Target,
  position: number,
): PlannedAncestor {
  const path = `spec.targetRefs[${position}]`;
  const name = target.service.slice(target.service.indexOf("/") + 1);
  const section = target.section === "" ? {} : { sectionName: target.section };
  const ancestorRef = { group: "", kind: "Service", namespace: entry.namespace, name, ...section };
  const service = index.services.get(target.service);
  if (service === undefined) {
    const problem = {
      path: `${path}.name`,
      message: `there is no Service ${target.service}`,
      remedy: "apply the Service or correct the name",
    };
    return { ancestorRef, conditions: [refused("TargetNotFound", [problem])], documents: [] };
  }
  const refusal = refuseOn(index, entry, spec, target, service, path);
  const resolved = resolvedRefs(index, entry, spec, service);
  if (refusal !== null) return { ancestorRef, conditions: [refusal, resolved], documents: [] };
  return { ancestorRef, conditions: [accepted(), resolved], documents: carriers(index, entry, spec, service) };
}

/** Why the policy does not hold on a Service that exists; null when it does. */
function refuseOn(
  index: ResourceIndex,
  entry: Entry<TrafficPolicySpec>,
  spec: TrafficPolicySpec,
  target: Target,
  service: ServiceFacts,
  path: string,
): PlannedCondition | null {
  if (target.section !== "" && !service.ports.some((port) => port.name === target.section)) {
    const message = `Service ${service.key} has no TCP port named ${target.section}`;
    return refused("TargetNotFound", [{ path: `${path}.sectionName`, message, remedy: "correct the name of the port" }]);
  }
  if (!canHold(index, spec, target)) {
    const port =
      target.section === ""
        ? `no port of Service ${service.key} declares`
        : `port ${target.section} of Service ${service.key} does not declare`;
    const message = `${port} HTTP, so routes cannot be applied`;
    return refused(
      "Invalid",
      [{ path: "spec.routes", message, remedy: "give the port appProtocol: http, or remove the routes" }],
      isInForce(index, entry, [target]) ? whatHolds(entry) : "",
    );
  }
  const [winner] = claims(index, target);
  if (winner === undefined || winner.entry.key === entry.key) return null;
  const why = winner.entry.createdAt === entry.createdAt ? "comes first by name" : "is older";
  const message = `TrafficPolicy ${winner.entry.key}, which ${why}, applies to it`;
  return refused("Conflicted", [{ path, message, remedy: "merge the two policies or delete one" }]);
}

function resolvedRefs(
  index: ResourceIndex,
  entry: Entry<TrafficPolicySpec>,
  spec: TrafficPolicySpec,
  service: ServiceFacts,
): PlannedCondition {
  const resolver = new BackendResolver(index, service, spec, entry.namespace, new Newest(0n));
  const missing: Problem[] = [];
  for (const [place, route] of (spec.routes ?? []).entries()) {
    for (const [position, ref] of (route.backendRefs ?? []).entries()) {
      const result = resolver.resolve(ref, 0);
      if (!isResolved(result) && result.reason === "BackendNotFound")
        missing.push(asProblem(result, `spec.routes[${place}].backendRefs[${position}]`));
    }
  }
  const empty = (spec.subsets ?? []).flatMap(({ name }, position): Problem[] => {
    if (!resolver.emptySubsets.includes(name)) return [];
    const message = `subset ${name} selects no pod of Service ${service.key}; its share of requests is answered 500`;
    return [
      {
        path: `spec.subsets[${position}].selector`,
        code: "WEFT_EMPTY_SUBSET",
        message,
        remedy: "correct the subset's matchLabels or the pods' labels",
      },
    ];
  });
  if (missing.length === 0 && empty.length === 0) {
    return { type: "ResolvedRefs", status: "True", reason: "ResolvedRefs", message: "All that it refers to exists." };
  }
  const reason = missing.length > 0 ? "BackendNotFound" : "EmptySubset";
  return { ...refused(reason, [...missing, ...empty]), type: "ResolvedRefs" };
}

function asProblem(result: Unresolved, path: string): Problem {
  return { path: `${path}.${result.field}`, code: "WEFT_BACKEND_NOT_FOUND", message: result.message, remedy: result.remedy };
}

/** Documents of the ports for which this policy is the one that holds. */
function carriers(index: ResourceIndex, entry: Entry<TrafficPolicySpec>, spec: TrafficPolicySpec, service: ServiceFacts): string[] {
  const documents: string[] = [];
  for (const port of service.ports) {
    if (policyFor(index, service, port.name)?.entry.key !== entry.key) continue;
    documents.push(serviceKey(service.key, port.port));
    if ((spec.subsets ?? []).length > 0) documents.push(endpointsKey(service.key, port.port));
  }
  return documents;
}
