import Type, { type Static } from "typebox";
import { TRAFFIC_POLICY_DEFAULTS } from "./defaults.ts";
import {
  asWhole,
  duration,
  durationWithin,
  type Frozen,
  headerName,
  keyedBy,
  label,
  list,
  narrowSelector,
  objectName,
  oneOf,
  rules,
} from "./fields.ts";
import { kindSchema, PolicyStatusSchema } from "./object.ts";
import { TrafficPolicyRouteSchema } from "./route.ts";

/** How requests to a Service are routed, balanced and kept within bounds. Short name wtp. */

const { loadBalancer: balancing, connections, outlierDetection: outliers } = TRAFFIC_POLICY_DEFAULTS;

/** Gateway API LocalPolicyTargetReferenceWithSectionName. */
const TargetRefSchema = Type.Object(
  {
    group: oneOf(["", "gateway.networking.k8s.io"], { description: "Empty for a Service, gateway.networking.k8s.io for routes." }),
    kind: oneOf(["Service", "HTTPRoute", "GRPCRoute"], { description: "Kind. A route takes per-route settings only." }),
    name: objectName("Name, in the policy's own namespace."),
    sectionName: Type.Optional(objectName("Port name of a Service or rule name of a route; the whole object when absent.")),
  },
  {
    description: "What the policy is about (GEP-713).",
    ...rules({
      rule: "(self.kind == 'Service') == (self.group == '')",
      message: "group must be empty for a Service and gateway.networking.k8s.io for an HTTPRoute or GRPCRoute",
      fieldPath: ".group",
    }),
  },
);

const SubsetSchema = Type.Object(
  { name: label("Name, for backendRefs."), selector: narrowSelector("Which of the Service's pods.") },
  { description: "Some of the pods behind the target, by label." },
);

const ConsistentHashSchema = Type.Object(
  {
    type: oneOf(["Header", "Cookie", "SourceIP"], { description: "What is hashed." }),
    header: Type.Optional(
      Type.Object({ name: headerName("Field name, whatever its case.") }, { description: "The header field to hash." }),
    ),
    cookie: Type.Optional(
      Type.Object(
        {
          name: headerName("Cookie name."),
          ttl: Type.Optional(duration("Lifetime of the cookie that is set where the request has none; a session cookie when absent.")),
        },
        { description: "The cookie to hash." },
      ),
    ),
  },
  {
    description: "Requests with the same hash go to the same endpoint while endpoints stay.",
    ...rules(
      {
        rule: "(self.type == 'Header') == has(self.header)",
        message: "header must be given exactly when type is Header",
        fieldPath: ".header",
      },
      {
        rule: "(self.type == 'Cookie') == has(self.cookie)",
        message: "cookie must be given exactly when type is Cookie",
        fieldPath: ".cookie",
      },
    ),
  },
);

export const LoadBalancerSchema = Type.Object(
  {
    algorithm: Type.Optional(
      oneOf(["PeakEWMA", "RoundRobin", "LeastRequest", "Random", "ConsistentHash"], {
        description: "How an endpoint is picked. PeakEWMA: of two drawn at random, the one that lately answered faster.",
        default: balancing.algorithm,
      }),
    ),
    consistentHash: Type.Optional(ConsistentHashSchema),
    slowStart: Type.Optional(
      Type.Object(
        {
          window: Type.Optional(
            duration("How long a new endpoint's share grows to its full size, at most 1h. 0s: full at once.", {
              default: balancing.slowStart.window,
              rules: [durationWithin("0s", "1h")],
            }),
          ),
        },
        { description: "New endpoints get less at first." },
      ),
    ),
    zonePreference: Type.Optional(
      oneOf(["None", "PreferSameZone", "PreferSameNode"], {
        description: "Where endpoints are preferred while enough are there; the Service's own trafficDistribution when absent.",
      }),
    ),
  },
  {
    description: "How requests are spread over endpoints.",
    ...rules({
      rule: "(has(self.algorithm) && self.algorithm == 'ConsistentHash') == has(self.consistentHash)",
      message: "consistentHash must be given exactly when algorithm is ConsistentHash",
      fieldPath: ".consistentHash",
    }),
  },
);

export const ConnectionsSchema = Type.Object(
  {
    connectTimeout: Type.Optional(
      duration("Time for one connection to be made, TLS included, from 1ms to 1m.", {
        default: connections.connectTimeout,
        rules: [durationWithin("1ms", "1m")],
      }),
    ),
    max: Type.Optional(
      Type.Integer({ description: "Most connections to the target, per proxy.", minimum: 1, maximum: 1_000_000, default: connections.max }),
    ),
    maxPendingRequests: Type.Optional(
      Type.Integer({
        description: "Most requests that wait for a connection, per proxy. 0: none waits.",
        minimum: 0,
        maximum: 1_000_000,
        default: connections.maxPendingRequests,
      }),
    ),
    idleTimeout: Type.Optional(
      duration("Time after which an unused connection is closed. 0s: never. To the application itself it is always 3s.", {
        default: connections.idleTimeout,
      }),
    ),
  },
  { description: "Bounds on connections." },
);

export const OutlierDetectionSchema = Type.Object(
  {
    consecutiveErrors: Type.Optional(
      Type.Integer({
        description: "Errors in a row after which an endpoint is ejected. 0: not by this.",
        minimum: 0,
        maximum: 10_000,
        default: outliers.consecutiveErrors,
      }),
    ),
    successRate: Type.Optional(
      Type.Object(
        {
          interval: Type.Optional(
            duration("Over what time success is counted, from 1s to 1h.", {
              default: outliers.successRate.interval,
              rules: [durationWithin("1s", "1h")],
            }),
          ),
          minEndpoints: Type.Optional(
            Type.Integer({
              description: "Endpoints with enough requests below which none is judged.",
              minimum: 2,
              maximum: 1000,
              default: outliers.successRate.minEndpoints,
            }),
          ),
          minRequests: Type.Optional(
            Type.Integer({
              description: "Requests in an interval below which an endpoint is not judged.",
              minimum: 1,
              maximum: 1_000_000,
              default: outliers.successRate.minRequests,
            }),
          ),
          deviationPercent: Type.Optional(
            Type.Integer({
              description: "How far below the mean an endpoint is ejected, in percent of a standard deviation: 190 is 1.9 deviations.",
              minimum: 1,
              maximum: 1000,
              default: outliers.successRate.deviationPercent,
            }),
          ),
        },
        { description: "Ejects endpoints that fail more often than the others. Absent: not done." },
      ),
    ),
    ejectionTime: Type.Optional(
      duration("How long the first ejection lasts, from 1ms; doubled for each further one.", {
        default: outliers.ejectionTime,
        rules: [durationWithin("1ms", "24h")],
      }),
    ),
    maxEjectionTime: Type.Optional(
      duration("How long an ejection lasts at most.", { default: outliers.maxEjectionTime, rules: [durationWithin("1ms", "24h")] }),
    ),
    maxEjectedPercent: Type.Optional(
      Type.Integer({
        description: "Most endpoints ejected at a time, in percent. 0: none.",
        minimum: 0,
        maximum: 100,
        default: outliers.maxEjectedPercent,
      }),
    ),
  },
  {
    description: "Takes endpoints that fail out of balancing for a while.",
    ...rules({
      rule: `duration(has(self.ejectionTime) ? self.ejectionTime : '${outliers.ejectionTime}') <= duration(has(self.maxEjectionTime) ? self.maxEjectionTime : '${outliers.maxEjectionTime}')`,
      message: `ejectionTime must not be longer than maxEjectionTime (${outliers.maxEjectionTime} when absent)`,
      fieldPath: ".ejectionTime",
    }),
  },
);

const isRoute = "self.targetRefs.exists(t, t.kind != 'Service')";

export const TrafficPolicySpecSchema = Type.Object(
  {
    targetRefs: list(TargetRefSchema, "What the policy is about. Services, or routes, not both.", {
      minItems: 1,
      maxItems: 16,
      ...asWhole,
      ...rules(
        {
          rule: "self.all(a, self.exists_one(b, a.kind == b.kind && a.name == b.name && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",
          message: "names the same target twice",
        },
        { rule: "self.all(t, (t.kind == 'Service') == (self[0].kind == 'Service'))", message: "must be all Services or all routes" },
      ),
    }),
    subsets: Type.Optional(list(SubsetSchema, "Parts of the target that routes can name.", { maxItems: 32, ...keyedBy("name") })),
    loadBalancer: Type.Optional(LoadBalancerSchema),
    connections: Type.Optional(ConnectionsSchema),
    outlierDetection: Type.Optional(OutlierDetectionSchema),
    routes: Type.Optional(
      list(TrafficPolicyRouteSchema, "Where requests go. None: to the target's endpoints. Some, and none matches: 404.", {
        maxItems: 32,
        ...asWhole,
        ...rules({
          rule: "self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && a.name == b.name))",
          message: "two routes have the same name",
        }),
      }),
    ),
  },
  {
    description: "What is wanted.",
    ...rules(
      {
        rule: `!${isRoute} || !(has(self.subsets) || has(self.loadBalancer) || has(self.connections) || has(self.outlierDetection))`,
        message:
          "a policy for an HTTPRoute or GRPCRoute takes routes only; subsets, loadBalancer, connections and outlierDetection belong to a policy for the Service",
      },
      {
        rule: `!${isRoute} || !has(self.routes) || (self.routes.size() <= 1 && self.routes.all(r, !has(r.matches) && !has(r.backendRefs)))`,
        message:
          "a policy for an HTTPRoute or GRPCRoute takes one entry in routes, without matches and backendRefs: the route itself has them",
        fieldPath: ".routes",
      },
    ),
  },
);

export const TrafficPolicySchema = kindSchema(
  "TrafficPolicy",
  "How requests to a Service are routed, balanced and kept within bounds.",
  TrafficPolicySpecSchema,
  PolicyStatusSchema,
);

export type TargetRef = Frozen<Static<typeof TargetRefSchema>>;
export type Subset = Frozen<Static<typeof SubsetSchema>>;
export type LoadBalancer = Frozen<Static<typeof LoadBalancerSchema>>;
export type Connections = Frozen<Static<typeof ConnectionsSchema>>;
export type OutlierDetection = Frozen<Static<typeof OutlierDetectionSchema>>;
export type TrafficPolicySpec = Frozen<Static<typeof TrafficPolicySpecSchema>>;
export type TrafficPolicy = Frozen<Static<typeof TrafficPolicySchema>>;
