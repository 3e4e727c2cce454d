import Type, { type Static } from "typebox";
import { TRAFFIC_POLICY_DEFAULTS } from "./defaults.ts";
import {
  asSet,
  asWhole,
  duration,
  durationWithin,
  type Frozen,
  headerName,
  headerValue,
  keyedBy,
  label,
  list,
  objectName,
  oneOf,
  PATH_PATTERN,
  port,
  rules,
} from "./fields.ts";
import { FaultsSchema, filtersRules, HTTPRouteFilterSchema } from "./filters.ts";

/** One route of a TrafficPolicy: what it matches, where it goes, how long it may take, what is tried again. */

const { match: matchDefaults, retry: retryDefaults, timeouts: timeoutDefaults } = TRAFFIC_POLICY_DEFAULTS.route;

/**
 * Gateway API HTTPPathMatch without RegularExpression: a user's regular expression can take exponential time on a
 * path that a stranger chose (ReDoS), and mistaking text for one has let the wrong caller in (Istio's
 * CVE-2026-39350: an unescaped dot). Literals and prefixes match only themselves.
 */
export const HTTPPathMatchSchema = Type.Object(
  {
    type: Type.Optional(
      oneOf(["Exact", "PathPrefix"], {
        description: "Exact: the whole path. PathPrefix: whole segments from the left, so /api matches /api and /api/x but not /apix.",
        default: matchDefaults.pathType,
      }),
    ),
    value: Type.Optional(
      Type.String({
        description: "The path, without query, normalised as requests are: no empty or dot segments, no %2F.",
        default: matchDefaults.pathValue,
        minLength: 1,
        maxLength: 1024,
        pattern: PATH_PATTERN,
        ...rules(
          { rule: "!self.contains('//')", message: "must not contain //: request paths are normalised before they are matched" },
          {
            rule: "!(self.contains('/./') || self.contains('/../') || self.endsWith('/.') || self.endsWith('/..'))",
            message: "must not contain . or .. as a segment: request paths are normalised before they are matched",
          },
          { rule: "!(self.contains('%2f') || self.contains('%2F'))", message: "must not contain %2F: an encoded slash never matches" },
        ),
      }),
    ),
  },
  { description: "The path of the request. RegularExpression is not offered: it can be made to take exponential time." },
);

export const HTTPHeaderMatchSchema = Type.Object(
  {
    type: Type.Optional(oneOf(["Exact"], { description: "Exact, the only one.", default: matchDefaults.headerType })),
    name: headerName("Field name, whatever its case."),
    value: headerValue("The whole value, byte for byte; several fields of one name count as one, joined by commas."),
  },
  { description: "A header field that the request must have." },
);

export const HTTPQueryParamMatchSchema = Type.Object(
  {
    type: Type.Optional(oneOf(["Exact"], { description: "Exact, the only one.", default: matchDefaults.queryParamType })),
    name: headerName("Parameter name, byte for byte."),
    value: Type.String({
      description: "The whole value of the first parameter of that name, byte for byte.",
      minLength: 1,
      maxLength: 1024,
    }),
  },
  { description: "A query parameter that the request must have." },
);

/** Gateway API HTTPRouteMatch: all that is given must hold. */
export const HTTPRouteMatchSchema = Type.Object(
  {
    path: Type.Optional(HTTPPathMatchSchema),
    headers: Type.Optional(list(HTTPHeaderMatchSchema, "Header fields, all of which must match.", { maxItems: 16, ...keyedBy("name") })),
    queryParams: Type.Optional(
      list(HTTPQueryParamMatchSchema, "Query parameters, all of which must match.", { maxItems: 16, ...keyedBy("name") }),
    ),
    method: Type.Optional(
      oneOf(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"], { description: "The method." }),
    ),
  },
  { description: "Conditions on a request, all of which must hold. Empty: every request." },
);

/** A share of the route's requests: to a subset of the target, or to another Service's port. */
export const BackendRefSchema = Type.Object(
  {
    subset: Type.Optional(label("Name of one of spec.subsets. Not together with name.")),
    group: Type.Optional(oneOf([""], { description: "The core group, the only one." })),
    kind: Type.Optional(oneOf(["Service"], { description: "Service, the only kind." })),
    name: Type.Optional(objectName("Name of a Service. Not together with subset.")),
    namespace: Type.Optional(label("Namespace of the Service; the policy's own when absent.")),
    port: Type.Optional(port("Port of the Service that name says; a subset has the port that was asked for.")),
    weight: Type.Optional(
      Type.Integer({
        description: "Share of the route's requests, relative to the other weights. 0: none.",
        minimum: 0,
        maximum: 1_000_000,
        default: TRAFFIC_POLICY_DEFAULTS.route.backendRef.weight,
      }),
    ),
  },
  {
    description: "Where requests go, and what share of them.",
    ...rules(
      { rule: "has(self.subset) != has(self.name)", message: "give exactly one of subset and name" },
      { rule: "!has(self.name) || has(self.port)", message: "a Service needs the port too", fieldPath: ".port" },
      {
        rule: "!has(self.subset) || !(has(self.port) || has(self.__namespace__) || has(self.group) || has(self.kind))",
        message: "a subset is of the policy's own target: give no port, namespace, group or kind",
      },
    ),
  },
);

/** Gateway API HTTPRouteTimeouts, and `idle`. */
export const TimeoutsSchema = Type.Object(
  {
    request: Type.Optional(
      duration("From the request's head to the last byte of the response, all attempts together. 0s: no limit.", {
        default: timeoutDefaults.request,
      }),
    ),
    backendRequest: Type.Optional(
      duration("The same for one attempt, from when it is sent. 0s: no limit.", { default: timeoutDefaults.backendRequest }),
    ),
    idle: Type.Optional(duration("Time without a byte in either direction. 0s: no limit.", { default: timeoutDefaults.idle })),
  },
  {
    description: "How long requests may take.",
    ...rules({
      rule: "!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)",
      message: "backendRequest must not be longer than request, which holds for all attempts together",
      fieldPath: ".backendRequest",
    }),
  },
);

/** gRPC's status names but OK (grpc/doc/statuscodes.md). */
export const GRPC_CODES = [
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** Gateway API HTTPRouteRetry (GEP-1731) with a budget (GEP-3388). */
export const RetrySchema = Type.Object(
  {
    attempts: Type.Optional(
      Type.Integer({ description: "Further attempts after the first. 0: none.", minimum: 0, maximum: 10, default: retryDefaults.attempts }),
    ),
    codes: Type.Optional(
      list(
        Type.Integer({ description: "HTTP status.", minimum: 400, maximum: 599 }),
        "Statuses of a response that are tried again. None: only attempts that got no response.",
        { maxItems: 16, ...asSet },
      ),
    ),
    grpcCodes: Type.Optional(
      list(
        oneOf(GRPC_CODES, { description: "gRPC status." }),
        "gRPC statuses that are tried again, where the response is its status alone.",
        {
          maxItems: 16,
          ...asSet,
        },
      ),
    ),
    backoff: Type.Optional(
      duration("Least wait before the first retry, doubled for each further one, with jitter. At most 1m. 0s: none.", {
        default: retryDefaults.backoff,
        rules: [durationWithin("0s", "1m")],
      }),
    ),
    budget: Type.Optional(
      Type.Object(
        {
          percent: Type.Optional(
            Type.Integer({
              description: "Retries allowed, in percent of the requests of the last 10 s.",
              minimum: 0,
              maximum: 100,
              default: retryDefaults.budget.percent,
            }),
          ),
          minPerSecond: Type.Optional(
            Type.Integer({
              description: "Retries a second that are allowed whatever the percentage says, so that little traffic is retried too.",
              minimum: 0,
              maximum: 1_000_000,
              default: retryDefaults.budget.minPerSecond,
            }),
          ),
        },
        { description: "Bounds retries as a whole, so that they do not become the overload. Both 0: no retries." },
      ),
    ),
    nonIdempotent: Type.Optional(
      Type.Boolean({
        description:
          "Also retry methods that are not idempotent (RFC 9110 section 9.2.2), such as POST, though the first attempt may have taken effect.",
        default: retryDefaults.nonIdempotent,
      }),
    ),
  },
  { description: "What is tried again. Without it nothing is, by policy." },
);

export const RateLimitSchema = Type.Object(
  {
    requestsPerSecond: Type.Integer({
      description: "Requests a second, for all replicas of the target together.",
      minimum: 1,
      maximum: 1_000_000,
    }),
    burst: Type.Optional(
      Type.Integer({ description: "Requests that may come at once; requestsPerSecond when absent.", minimum: 1, maximum: 1_000_000 }),
    ),
    key: Type.Optional(
      Type.Object(
        { header: headerName("Header field: each of its values has a limit of its own; requests without it share one.") },
        { description: "What requests are counted by; all together when absent." },
      ),
    ),
  },
  { description: "How many requests are let through; others are answered 429." },
);

const replacesPrefix = (filter: string) => `(has(f.${filter}) && has(f.${filter}.path) && f.${filter}.path.type == 'ReplacePrefixMatch')`;

export const TrafficPolicyRouteSchema = Type.Object(
  {
    name: Type.Optional(objectName("Name of the route, in metrics and `weft explain`; its place in the list when absent.")),
    matches: Type.Optional(
      list(HTTPRouteMatchSchema, "The route is meant when any of them holds. None: every request.", { maxItems: 64, ...asWhole }),
    ),
    backendRefs: Type.Optional(
      list(BackendRefSchema, "Where requests go, by weight. None: to the target itself.", { maxItems: 16, ...asWhole }),
    ),
    timeouts: Type.Optional(TimeoutsSchema),
    retry: Type.Optional(RetrySchema),
    filters: Type.Optional(
      list(HTTPRouteFilterSchema, "What is done to requests and responses, in this order.", { maxItems: 8, ...asWhole, ...filtersRules }),
    ),
    faults: Type.Optional(FaultsSchema),
    rateLimit: Type.Optional(RateLimitSchema),
  },
  {
    description: "One route. Of several that match, the most specific is taken, by Gateway API's precedence.",
    ...rules(
      {
        rule: "!has(self.filters) || !self.filters.exists(f, f.type == 'RequestRedirect') || !has(self.backendRefs) || self.backendRefs.size() == 0",
        message: "a route with a RequestRedirect filter reaches no backend: give no backendRefs",
        fieldPath: ".backendRefs",
      },
      {
        rule:
          `!has(self.filters) || !self.filters.exists(f, ${replacesPrefix("urlRewrite")} || ${replacesPrefix("requestRedirect")}) || ` +
          "!has(self.matches) || self.matches.all(m, !has(m.path) || !has(m.path.type) || m.path.type == 'PathPrefix')",
        message: "ReplacePrefixMatch needs matches of type PathPrefix only: there is no prefix to replace otherwise",
        fieldPath: ".matches",
      },
    ),
  },
);

export type HTTPPathMatch = Frozen<Static<typeof HTTPPathMatchSchema>>;
export type HTTPHeaderMatch = Frozen<Static<typeof HTTPHeaderMatchSchema>>;
export type HTTPQueryParamMatch = Frozen<Static<typeof HTTPQueryParamMatchSchema>>;
export type HTTPRouteMatch = Frozen<Static<typeof HTTPRouteMatchSchema>>;
export type BackendRef = Frozen<Static<typeof BackendRefSchema>>;
export type Timeouts = Frozen<Static<typeof TimeoutsSchema>>;
export type Retry = Frozen<Static<typeof RetrySchema>>;
export type RateLimit = Frozen<Static<typeof RateLimitSchema>>;
export type TrafficPolicyRoute = Frozen<Static<typeof TrafficPolicyRouteSchema>>;
