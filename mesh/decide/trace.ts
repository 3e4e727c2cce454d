import type { Service } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type Candidate, type CompiledBackend, type CompiledRoute, type CompiledService, compileService } from "./compile.ts";
import { type Condition, type ConsideredMatch, type Decision, describeCondition, type Explanation, type HeaderChange } from "./explain.ts";
import { COMPARES, holds, Lookups, type Predicate, type RequestView } from "./match.ts";
import type { HeaderEdits } from "./modifiers.ts";
import { whyPreferred } from "./precedence.ts";
import { backoffMs, isIdempotent } from "./retry.ts";

/**
 * What the proxy does with `request`, and why: it compiles the document as the proxy does and runs the
 * same predicates in the same order, but all of them. The rest (split, timeouts…) is read from the compiled route.
 */
export function trace(document: Service, request: RequestView): Explanation {
  const service = compileService(document);
  const { considered, chosen } = considerAll(service, request);
  const route = document.routes.length === 0 ? (service.routes[0] as CompiledRoute) : (chosen?.route ?? null);
  const dead = route !== null && !route.backends.some(({ weight, unresolved }) => weight > 0 && !unresolved);
  return {
    service: `${document.namespace}/${document.name}:${document.port}`,
    policy: document.policy,
    request: { method: request.method, path: request.path, query: request.query },
    considered,
    decision: route === null ? null : decisionOf(route, request),
    error: route === null ? "WEFT_NO_ROUTE" : dead ? "WEFT_NO_BACKEND" : null,
  };
}

function considerAll(service: CompiledService, request: RequestView): { considered: ConsideredMatch[]; chosen: Candidate | null } {
  const lookups = new Lookups(service.names);
  lookups.reset(request);
  let chosen: Candidate | null = null;
  const considered = service.candidates.map((candidate): ConsideredMatch => {
    const conditions = candidate.match.predicates.map((predicate) => conditionOf(predicate, lookups));
    const failed = conditions.find((condition) => !condition.holds);
    const common = { route: candidate.route.name, routeId: candidate.route.id, match: candidate.matchIndex, conditions };
    if (failed !== undefined) return { ...common, outcome: "lost", reason: describeCondition(failed) };
    if (chosen !== null) return { ...common, outcome: "preceded", reason: `the chosen match has ${whyPreferred(chosen, candidate)}` };
    chosen = candidate;
    return { ...common, outcome: "chosen", reason: "" };
  });
  return { considered, chosen };
}

const KINDS = {
  [COMPARES.exactPath]: "path",
  [COMPARES.pathPrefix]: "path prefix",
  [COMPARES.method]: "method",
  [COMPARES.header]: "header",
  [COMPARES.queryParam]: "query parameter",
} as const;

function conditionOf(predicate: Predicate, lookups: Lookups): Condition {
  const named = predicate.compares === COMPARES.header || predicate.compares === COMPARES.queryParam;
  return {
    kind: KINDS[predicate.compares],
    name: named ? predicate.name : "",
    wanted: predicate.value,
    found: lookups.found(predicate),
    holds: holds(predicate, lookups),
  };
}

function decisionOf(route: CompiledRoute, request: RequestView): Decision {
  const { faults } = route;
  return {
    route: route.name,
    routeId: route.id,
    backends: route.backends.map((backend) => shareOf(backend, route.totalWeight)),
    timeouts: route.timeouts,
    retry: retryOf(route, request),
    faults:
      faults === null
        ? null
        : {
            delayMs: faults.delayShare > 0 ? faults.delay.delayMs : 0,
            delayPercent: faults.delayShare * 100,
            abortStatus: faults.abortShare > 0 ? faults.abort.abortStatus : 0,
            abortPercent: faults.abortShare * 100,
          },
  };
}

function shareOf(backend: CompiledBackend, totalWeight: number): Decision["backends"][number] {
  return {
    cluster: backend.name,
    weight: backend.weight,
    percent: totalWeight === 0 ? 0 : (backend.weight / totalWeight) * 100,
    unresolved: backend.unresolved,
    requestHeaders: changeOf(backend.requestModifiers),
    responseHeaders: changeOf(backend.responseModifiers),
  };
}

function changeOf(edits: HeaderEdits | null): HeaderChange {
  return edits === null ? { drop: [], append: [] } : { drop: [...edits.drop].sort(), append: edits.append };
}

function retryOf({ retry, budget }: CompiledRoute, { method }: RequestView): Decision["retry"] {
  const allowed = retry !== null && (retry.nonIdempotent || isIdempotent(method));
  const only = "only what was surely not processed, twice";
  return {
    attempts: allowed ? retry.attempts : 0,
    codes: allowed ? [...retry.codes] : [],
    // The longest first wait, the default filled in.
    backoffMs: allowed ? backoffMs(retry, 1, 1) : 0,
    note: allowed ? "" : retry === null ? only : `${only}: ${method} is not idempotent and retry.nonIdempotent is not set`,
    budgetPercent: budget.percent,
    budgetMinPerSecond: budget.minPerSecond,
  };
}
