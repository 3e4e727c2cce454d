import type { Backend, Protocol, Route, Service, UpstreamCluster } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type CompiledFaults, compileFaults } from "./fault.ts";
import { compileMatch, holds, Lookups, type MatchConditions, Names, type RequestView } from "./match.ts";
import { compileModifiers, type HeaderEdits } from "./modifiers.ts";
import { compareMatches, type Placed } from "./precedence.ts";
import { type BudgetLimits, budgetOf, type CompiledRetry, compileRetry } from "./retry.ts";
import { type CompiledTimeouts, compileTimeouts } from "./timeouts.ts";

/** One backend of a route, with all that depends on having picked it. */
export interface CompiledBackend {
  /** Index into `CompiledService.clusters`. */
  readonly cluster: number;
  /** Name of that cluster, "" when unresolved and unknown. */
  readonly name: string;
  /** Share of the route's requests, of `CompiledRoute.totalWeight`. 0: never picked. */
  readonly weight: number;
  /** Requests that fall on it are answered 500 (WEFT_NO_BACKEND). */
  readonly unresolved: boolean;
  /** Edits of the route and then of this backend, in one: apply these instead of the route's. */
  readonly requestModifiers: HeaderEdits | null;
  readonly responseModifiers: HeaderEdits | null;
}

/** All that an exchange needs of its route, read once at its head. */
export interface CompiledRoute {
  /** Position in the document, counted from 0; for metrics. 0 for the implicit route. */
  readonly id: number;
  /** "" for the implicit route of a service that has none. */
  readonly name: string;
  readonly backends: readonly CompiledBackend[];
  /** `cumulative[i]` is the sum of the weights up to and with backend i. */
  readonly cumulative: readonly number[];
  readonly totalWeight: number;
  readonly timeouts: CompiledTimeouts;
  /** Null: only requests that were surely not processed are tried again. */
  readonly retry: CompiledRetry | null;
  /** What all further attempts on this route are limited by; the default where the policy has no retry. */
  readonly budget: BudgetLimits;
  readonly faults: CompiledFaults | null;
  /** The route's own edits, for responses made before a backend was picked. */
  readonly requestModifiers: HeaderEdits | null;
  readonly responseModifiers: HeaderEdits | null;
}

/** A match in its place, and the route it leads to. */
export interface Candidate extends Placed {
  readonly route: CompiledRoute;
}

/** A service document in the form that decides. Immutable; one per version of the document. */
export class CompiledService {
  readonly document: Service;
  readonly protocol: Protocol;
  readonly clusters: readonly UpstreamCluster[];
  /** In the order of the document. One implicit route to cluster 0 where it has none. */
  readonly routes: readonly CompiledRoute[];
  /** In the order of precedence. */
  readonly candidates: readonly Candidate[];
  readonly names: Names;
  readonly #lookups: Lookups;

  constructor(document: Service) {
    this.document = document;
    this.protocol = document.protocol;
    this.clusters = document.clusters;
    this.names = new Names();
    const candidates: Candidate[] = [];
    this.routes =
      document.routes.length === 0
        ? [implicitRoute(document)]
        : document.routes.map((route, position) => {
            const compiled = compileRoute(route, position, document);
            const matches = route.matches.length === 0 ? [MATCH_ALL] : route.matches;
            matches.forEach((match, matchIndex) => {
              candidates.push({ match: compileMatch(match, this.names), route: compiled, routeIndex: route.index, position, matchIndex });
            });
            return compiled;
          });
    this.candidates = candidates.sort(compareMatches);
    this.#lookups = new Lookups(this.names);
  }

  /** The route for this request; null when the service has routes and none matches (WEFT_NO_ROUTE). */
  match(request: RequestView): CompiledRoute | null {
    const candidates = this.candidates;
    if (this.document.routes.length === 0) return this.routes[0] as CompiledRoute;
    const lookups = this.#lookups;
    lookups.reset(request);
    let route: CompiledRoute | null = null;
    next: for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i] as Candidate;
      const predicates = candidate.match.predicates;
      for (let j = 0; j < predicates.length; j++) {
        if (!holds(predicates[j]!, lookups)) continue next;
      }
      route = candidate.route;
      break;
    }
    lookups.reset(null);
    return route;
  }
}

/** Compiles a document that was accepted. Never throws: what cannot be understood never matches. */
export function compileService(document: Service): CompiledService {
  return new CompiledService(document);
}

/** A route without matches takes every request. */
const MATCH_ALL: MatchConditions = { method: "", headers: [], queryParams: [] };

function compileRoute(route: Route, id: number, document: Service): CompiledRoute {
  const backends = route.backends.map((backend) => compileBackend(backend, route, document));
  let totalWeight = 0;
  const cumulative = backends.map(({ weight }) => (totalWeight += weight));
  return {
    id,
    name: route.name,
    backends,
    cumulative,
    totalWeight,
    timeouts: compileTimeouts(route.timeouts),
    retry: compileRetry(route.retry),
    budget: budgetOf(route.retry),
    faults: compileFaults(route.faults),
    requestModifiers: compileModifiers(route.filters, "request"),
    responseModifiers: compileModifiers(route.filters, "response"),
  };
}

function compileBackend(backend: Backend, route: Route, document: Service): CompiledBackend {
  const cluster = document.clusters[backend.cluster];
  const filters = [...route.filters, ...backend.filters];
  return {
    cluster: backend.cluster,
    name: cluster?.name ?? "",
    weight: backend.weight,
    // An index without a cluster is the operator's mistake; it must not become another cluster's traffic.
    unresolved: backend.unresolved || cluster === undefined,
    requestModifiers: compileModifiers(filters, "request"),
    responseModifiers: compileModifiers(filters, "response"),
  };
}

function implicitRoute(document: Service): CompiledRoute {
  const cluster = document.clusters[0];
  const whole: CompiledBackend = {
    cluster: 0,
    name: cluster?.name ?? "",
    weight: 1,
    unresolved: cluster === undefined,
    requestModifiers: null,
    responseModifiers: null,
  };
  return {
    id: 0,
    name: "",
    backends: [whole],
    cumulative: [1],
    totalWeight: 1,
    timeouts: compileTimeouts(undefined),
    retry: null,
    budget: budgetOf(undefined),
    faults: null,
    requestModifiers: null,
    responseModifiers: null,
  };
}
