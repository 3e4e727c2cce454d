/**
 * What holds where a policy is silent. The schemas print these as `default` and the planner applies them, so the
 * two cannot differ. Durations are GEP-2257 texts, as a user would write them.
 */
export const TRAFFIC_POLICY_DEFAULTS = {
  loadBalancer: { algorithm: "PeakEWMA", slowStart: { window: "0s" } },
  connections: { connectTimeout: "1s", max: 1024, maxPendingRequests: 1024, idleTimeout: "1h" },
  outlierDetection: {
    consecutiveErrors: 7,
    successRate: { interval: "10s", minEndpoints: 5, minRequests: 100, deviationPercent: 190 },
    ejectionTime: "1s",
    maxEjectionTime: "60s",
    maxEjectedPercent: 50,
  },
  route: {
    match: { pathType: "PathPrefix", pathValue: "/", headerType: "Exact", queryParamType: "Exact" },
    backendRef: { weight: 1 },
    /** "0s": no limit. */
    timeouts: { request: "0s", backendRequest: "0s", idle: "5m" },
    /** Only where `retry` is present: without it nothing is retried by policy. */
    retry: { attempts: 2, backoff: "25ms", budget: { percent: 20, minPerSecond: 10 }, nonIdempotent: false },
    redirect: { statusCode: 302 },
  },
  fraction: { denominator: 100 },
} as const;

export const MESH_IDENTITY_DEFAULTS = {
  trustDomain: "cluster.local",
  issuer: { selfSigned: { rootTTL: "87600h", issuerTTL: "2160h" } },
  certificates: { ttl: "24h", renewAfterPercent: 50 },
  mtls: { mode: "Permissive", minimum: "Disabled" },
} as const;

export const ACCESS_POLICY_DEFAULTS = {
  action: "Allow",
  mode: "Enforce",
  jwt: { required: false },
} as const;
