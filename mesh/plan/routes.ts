import { create } from "@bufbuild/protobuf";
import { parseDuration } from "#api/duration.ts";
import {
  type Backend,
  type Faults,
  FaultsSchema,
  type Filter,
  FilterSchema,
  type Fraction,
  FractionSchema,
  HeaderModifierSchema,
  type Match,
  MatchSchema,
  PathMatchType,
  type Retry,
  RetrySchema,
  type Route,
  RouteSchema,
  TimeoutsSchema,
  ValueMatchType,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { TRAFFIC_POLICY_DEFAULTS } from "#api/resources/defaults.ts";
import type { HTTPRouteFilter, Faults as WrittenFaults, Fraction as WrittenFraction } from "#api/resources/filters.ts";
import type { HTTPRouteMatch, TrafficPolicyRoute, Retry as WrittenRetry } from "#api/resources/route.ts";

/** Routes as written → routes on the wire, defaults filled in. Where they lead is `service.ts`' to say. */

const DEFAULTS = TRAFFIC_POLICY_DEFAULTS.route;
/** What a uint32 of milliseconds holds: 49 days. A longer wait is as good as that one. */
const MS_MAX = 0xffff_ffff;

/** A duration on the wire; the default where it is absent. */
export function wireMs(written: string | undefined, standard: string): number {
  return Math.min(parseDuration(written ?? standard) ?? 0, MS_MAX);
}

/** An idle timeout of a connection: "0s" means never, which the wire says by its longest. */
export function wireIdleMs(written: string | undefined, standard: string): number {
  return wireMs(written, standard) || MS_MAX;
}

export function planRoute(route: TrafficPolicyRoute, index: number, backends: Backend[]): Route {
  const { timeouts } = route;
  const retry = planRetry(route.retry);
  const faults = planFaults(route.faults);
  return create(RouteSchema, {
    name: route.name ?? String(index),
    matches: (route.matches ?? []).map(planMatch),
    backends,
    timeouts: create(TimeoutsSchema, {
      requestMs: wireMs(timeouts?.request, DEFAULTS.timeouts.request),
      backendRequestMs: wireMs(timeouts?.backendRequest, DEFAULTS.timeouts.backendRequest),
      idleMs: wireMs(timeouts?.idle, DEFAULTS.timeouts.idle),
    }),
    ...(retry === null ? {} : { retry }),
    filters: (route.filters ?? []).flatMap(planFilter),
    ...(faults === null ? {} : { faults }),
    index,
  });
}

function planMatch(match: HTTPRouteMatch): Match {
  const type = match.path?.type ?? DEFAULTS.match.pathType;
  const value = match.path?.value ?? DEFAULTS.match.pathValue;
  const headers = new Map<string, string>();
  for (const { name, value } of match.headers ?? []) {
    const lower = name.toLowerCase();
    // Gateway API: of equivalent names only the first counts.
    if (!headers.has(lower)) headers.set(lower, value);
  }
  return create(MatchSchema, {
    path: {
      type: type === "Exact" ? PathMatchType.EXACT : PathMatchType.PREFIX,
      value: type === "Exact" ? value : withoutSlashAtEnd(value),
    },
    method: match.method ?? "",
    headers: [...headers].map(([name, value]) => ({ type: ValueMatchType.EXACT, name, value })),
    queryParams: (match.queryParams ?? []).map(({ name, value }) => ({ type: ValueMatchType.EXACT, name, value })),
  });
}

/** Prefixes are of whole segments: /api/ is /api, and must not count as the longer of the two. */
function withoutSlashAtEnd(prefix: string): string {
  return prefix.length > 1 && prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
}

/** Null where nothing is tried again. */
function planRetry(retry: WrittenRetry | undefined): Retry | null {
  const attempts = retry === undefined ? 0 : (retry.attempts ?? DEFAULTS.retry.attempts);
  if (retry === undefined || attempts === 0) return null;
  return create(RetrySchema, {
    attempts,
    codes: [...(retry.codes ?? [])],
    backoffMs: wireMs(retry.backoff, DEFAULTS.retry.backoff),
    budgetPercent: retry.budget?.percent ?? DEFAULTS.retry.budget.percent,
    budgetMinPerSecond: retry.budget?.minPerSecond ?? DEFAULTS.retry.budget.minPerSecond,
    nonIdempotent: retry.nonIdempotent ?? DEFAULTS.retry.nonIdempotent,
  });
}

/** The kinds of filter that are not acted on never come here: `validate` refuses them. */
function planFilter(filter: HTTPRouteFilter): Filter[] {
  const written = filter.type === "RequestHeaderModifier" ? filter.requestHeaderModifier : filter.responseHeaderModifier;
  if (written === undefined) return [];
  const value = create(HeaderModifierSchema, {
    set: (written.set ?? []).map(({ name, value }) => ({ name, value })),
    add: (written.add ?? []).map(({ name, value }) => ({ name, value })),
    remove: [...(written.remove ?? [])],
  });
  const name = filter.type === "RequestHeaderModifier" ? "requestHeaderModifier" : "responseHeaderModifier";
  return [create(FilterSchema, { filter: { case: name, value } })];
}

/** Null where no request is meant. */
function planFaults(faults: WrittenFaults | undefined): Faults | null {
  const delayMs = faults?.delay === undefined ? 0 : wireMs(faults.delay.duration, "0s");
  const delayed = planFraction(faults?.delay?.fraction);
  const aborted = planFraction(faults?.abort?.fraction);
  const result = create(FaultsSchema);
  if (delayMs > 0 && delayed.numerator > 0) result.delay = { $typeName: "weft.discovery.v1.Delay", durationMs: delayMs, fraction: delayed };
  if (faults?.abort !== undefined && aborted.numerator > 0) {
    result.abort = { $typeName: "weft.discovery.v1.Abort", status: faults.abort.status, fraction: aborted };
  }
  return result.delay === undefined && result.abort === undefined ? null : result;
}

/** All requests where no fraction is written. */
function planFraction(fraction: WrittenFraction | undefined): Fraction {
  const denominator = fraction?.denominator ?? TRAFFIC_POLICY_DEFAULTS.fraction.denominator;
  return create(FractionSchema, { numerator: fraction?.numerator ?? denominator, denominator });
}
