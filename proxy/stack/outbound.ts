import type { Random } from "#api/clock.ts";
import type { CompiledBackend, CompiledRoute, CompiledService } from "#mesh/decide/compile.ts";
import { decideFaults } from "#mesh/decide/fault.ts";
import { applyFilters, stripOwnFields } from "#mesh/decide/fields.ts";
import type { RequestView } from "#mesh/decide/match.ts";
import { normalizePath } from "#mesh/decide/path.ts";
import { type AttemptEnd, backoffMs, judgeRetry } from "#mesh/decide/retry.ts";
import type { RetryBudget } from "#mesh/decide/retry-budget.ts";
import { pickBackend, type SplitSequence } from "#mesh/decide/split.ts";
import type { Candidate, Picker } from "../balance/picker.ts";
import type { ClientEvents, ClientStream, RequestHead, ResponseHead } from "../protocol/stream.ts";
import { ERROR_FIELD, type ProxyError } from "./errors.ts";
import type { Attempt, AttemptFailure } from "./attempt.ts";
import type { Director, Exchange } from "./exchange.ts";
import type { Upstream } from "./upstream.ts";

/** An endpoint as outbound uses it; connections and pools are the shell's. */
export interface OutboundEndpoint extends Candidate {
  /** "address:port". */
  readonly name: string;
  /** "" : plaintext. */
  readonly spiffeId: string;
  open(events: ClientEvents, upstream: { upstream: Upstream | null }): ClientStream | ProxyError;
}

export interface OutboundCluster {
  readonly name: string;
  readonly subset: string;
  readonly picker: Picker;
  /** All endpoints of the cluster, ready or not. Replaced, never changed. */
  endpoints: readonly OutboundEndpoint[];
}

/** Everything that requests to one service share. A new version of the document makes a new one. */
export interface OutboundService {
  readonly compiled: CompiledService;
  /** In the order of the document's clusters. */
  readonly clusters: readonly OutboundCluster[];
  readonly budget: RetryBudget;
  /** One a route. */
  readonly splits: readonly SplitSequence[];
}

/** What outbound reports of the requests to a service. */
export interface OutboundMetrics {
  request(
    x: Exchange,
    route: CompiledRoute | null,
    cluster: OutboundCluster | null,
    endpoint: OutboundEndpoint | null,
    seconds: number,
  ): void;
  retry(reason: string): void;
  budgetExhausted(): void;
  fault(type: "delay" | "abort"): void;
}

/** What was decided at the head of one request and is kept to its end. */
class Plan {
  readonly service: OutboundService;
  readonly route: CompiledRoute | null;
  readonly backend: CompiledBackend | null;
  readonly cluster: OutboundCluster | null;
  abortStatus = 0;
  tried: OutboundEndpoint[] = NONE_TRIED;
  last: OutboundEndpoint | null = null;
  policyRetries = 0;

  constructor(service: OutboundService, route: CompiledRoute | null, backend: CompiledBackend | null, cluster: OutboundCluster | null) {
    this.service = service;
    this.route = route;
    this.backend = backend;
    this.cluster = cluster;
  }
}

const NONE_TRIED: OutboundEndpoint[] = [];
/** A second try of a request that nobody took: the endpoint may be just restarting. */
const REFUSED_WAIT_MS = 25;

export interface OutboundDeps {
  readonly random: Random;
  nowMs(): number;
  /** The proxy holds all the bytes that it may: no further request. */
  overloaded(): boolean;
  /** Errors answered to the application, at a bounded rate. */
  log(error: ProxyError, x: Exchange): void;
}

/**
 * Decides for the requests that the application makes to one service, in this order: normalise the
 * target, strip our own names, match a route, pick a backend, edit headers, decide faults; then per
 * attempt pick an endpoint and open a stream.
 */
export class OutboundDirector implements Director {
  /** The service in force now; an exchange reads it once, at its head. */
  service: OutboundService;
  private readonly metrics: OutboundMetrics;
  private readonly deps: OutboundDeps;
  private readonly authority: string;
  private readonly view = { method: "", path: "", query: "", fields: [] as string[], authority: "" };

  constructor(service: OutboundService, metrics: OutboundMetrics, deps: OutboundDeps) {
    this.service = service;
    this.metrics = metrics;
    this.deps = deps;
    const { name, namespace, port } = service.compiled.document;
    this.authority = `${name}.${namespace}:${port}`;
  }

  admit(x: Exchange): ProxyError | null {
    const service = this.service;
    const request = x.request;
    if (this.deps.overloaded()) {
      x.plan = new Plan(service, null, null, null);
      return { code: "WEFT_OVERLOADED", detail: "the proxy's buffers are full" };
    }
    const normal = normalizePath(request.target);
    if ("refused" in normal) {
      x.plan = new Plan(service, null, null, null);
      return { code: "WEFT_BAD_REQUEST", detail: normal.refused };
    }
    request.target = normal.target;
    // HTTP/1.0 without Host: the listener knows which Service is meant.
    if (request.authority === "") request.authority = this.authority;
    request.fields = stripOwnFields(request.fields);
    const route = service.compiled.match(this.viewOf(request, normal.path, normal.query));
    if (route === null) {
      x.plan = new Plan(service, null, null, null);
      return { code: "WEFT_NO_ROUTE", detail: `no route matches ${request.method} ${normal.path}` };
    }
    x.timeouts = route.timeouts;
    service.budget.deposit(x.startedMs);
    const backend = pickBackend(route, service.splits[route.id]?.next() ?? this.deps.random());
    const cluster = backend === null || backend.unresolved ? null : (service.clusters[backend.cluster] ?? null);
    const plan = new Plan(service, route, backend, cluster);
    x.plan = plan;
    if (route.faults !== null) this.applyFaults(x, plan, route);
    if (backend === null || cluster === null) {
      return plan.abortStatus > 0 || x.delayMs > 0 ? null : noBackend(route);
    }
    if (backend.requestModifiers !== null) request.fields = applyFilters(request.fields, backend.requestModifiers);
    return null;
  }

  private viewOf(request: RequestHead, path: string, query: string): RequestView {
    const view = this.view;
    view.method = request.method;
    view.path = path;
    view.query = query;
    view.fields = request.fields;
    view.authority = request.authority;
    return view;
  }

  private applyFaults(x: Exchange, plan: Plan, route: CompiledRoute): void {
    const fault = decideFaults(route, this.deps.random(), this.deps.random());
    x.delayMs = fault.delayMs;
    plan.abortStatus = fault.abortStatus;
    if (fault.delayMs > 0) this.metrics.fault("delay");
    if (fault.abortStatus > 0) this.metrics.fault("abort");
  }

  connect(x: Exchange, attempt: Attempt): ClientStream | ProxyError {
    const plan = x.plan as Plan;
    if (plan.abortStatus > 0)
      return { code: "WEFT_FAULT_ABORT", detail: `faults.abort of route ${plan.route?.name ?? ""}`, status: plan.abortStatus };
    const { cluster } = plan;
    if (cluster === null) return noBackend(plan.route);
    const endpoint = cluster.picker.pick(cluster.endpoints, plan.tried, attempt.startedMs, this.deps.random);
    if (endpoint === undefined)
      return { code: "WEFT_NO_ENDPOINT", detail: `${cluster.name} has ${cluster.endpoints.length} endpoints, none ready` };
    plan.last = endpoint;
    attempt.endpoint = endpoint;
    endpoint.load.inFlight++;
    return endpoint.open(attempt, attempt);
  }

  attempted(_x: Exchange, attempt: Attempt, error: ProxyError | null): void {
    const endpoint = attempt.endpoint as OutboundEndpoint | null;
    if (endpoint === null) return;
    attempt.endpoint = null;
    const now = this.deps.nowMs();
    endpoint.load.inFlight--;
    if (error === null) endpoint.load.observe(now, now - attempt.startedMs);
    else endpoint.load.fail(now);
  }

  retryAfter(x: Exchange, failure: AttemptFailure): number {
    const plan = x.plan as Plan;
    const { code } = failure.error;
    if (
      plan.route === null ||
      code === "WEFT_FAULT_ABORT" ||
      code === "WEFT_NO_BACKEND" ||
      code === "WEFT_NOT_READY" ||
      code === "WEFT_LOOP"
    )
      return -1;
    const verdict = judgeRetry(plan.route.retry, {
      method: x.request.method,
      end: endOf(failure),
      status: failure.status,
      reused: failure.staleConnection,
      answered: failure.status > 0,
      headForwarded: x.status !== 0,
      replayable: true,
      policyRetries: plan.policyRetries,
      unprocessedRetries: x.refusals,
    });
    if (verdict === "never") return -1;
    const now = this.deps.nowMs();
    if (!plan.service.budget.withdraw(now)) {
      this.metrics.budgetExhausted();
      return -1;
    }
    if (plan.last !== null) plan.tried = plan.tried.length === 0 ? [plan.last] : [...plan.tried, plan.last];
    this.metrics.retry(failure.status > 0 ? String(failure.status) : code);
    if (verdict === "unprocessed") return x.refusals++ === 0 ? 0 : REFUSED_WAIT_MS;
    plan.policyRetries++;
    return Math.max(1, backoffMs(plan.route.retry, plan.policyRetries, this.deps.random()));
  }

  respond(x: Exchange, head: ResponseHead): void {
    const { backend, last } = x.plan as Plan;
    // Between sidecars the field is the other proxy's word; from an endpoint without one it would be the application's.
    const error = last !== null && last.spiffeId !== "" ? fieldOf(head.fields, ERROR_FIELD) : null;
    head.fields = stripOwnFields(head.fields);
    if (error !== null) head.fields.push(ERROR_FIELD, error);
    if (backend?.responseModifiers != null) head.fields = applyFilters(head.fields, backend.responseModifiers);
  }

  refuses(): boolean {
    return false;
  }

  finish(x: Exchange): void {
    const plan = x.plan as Plan | null;
    const seconds = (this.deps.nowMs() - x.startedMs) / 1000;
    this.metrics.request(x, plan?.route ?? null, plan?.cluster ?? null, plan?.last ?? null, seconds);
    if (x.error !== null && x.error.status !== 499) this.deps.log(x.error, x);
  }
}

function noBackend(route: CompiledRoute | null): ProxyError {
  return { code: "WEFT_NO_BACKEND", detail: `route ${route?.name ?? ""} has no backend that resolves` };
}

function endOf(failure: AttemptFailure): AttemptEnd {
  if (failure.status > 0) return "response";
  if (failure.unprocessed) return failure.error.code === "WEFT_UPSTREAM_RESET" ? "refused" : "connect-failed";
  if (failure.error.code === "WEFT_BACKEND_TIMEOUT") return "timeout";
  return failure.staleConnection ? "lost" : "reset";
}

function fieldOf(fields: readonly string[], lowerName: string): string | null {
  for (let i = 0; i < fields.length; i += 2) if ((fields[i] as string).toLowerCase() === lowerName) return fields[i + 1] as string;
  return null;
}
