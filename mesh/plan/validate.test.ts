import assert from "node:assert/strict";
import { validate } from "./validate.ts";
import { identity, read, traffic } from "./testdata/read.ts";

/** What crds/testdata cannot show: the split into invalid and unsupported, and what needs the namespace. */
function told(yaml: string): string[] {
  const [object] = read(yaml);
  return validate(object!).map(({ path, code }) => `${path} ${code.replace("WEFT_", "").replace("_FIELD", "")}`);
}

describe("a TrafficPolicy", () => {
  it.each([
    [
      "with everything that works",
      "subsets: [{name: v1, selector: {matchLabels: {version: v1}}}], loadBalancer: {algorithm: RoundRobin}, connections: {connectTimeout: 2s, idleTimeout: 5m}, routes: [{name: a, backendRefs: [{subset: v1}, {name: x, port: 1, weight: 0}], timeouts: {request: 5s}, retry: {attempts: 1, codes: [503]}, faults: {delay: {duration: 1s}}}]",
      [],
    ],
    [
      "with defaults written out",
      "loadBalancer: {algorithm: PeakEWMA, slowStart: {window: 0ms}}, connections: {max: 1024, maxPendingRequests: 1024, connectTimeout: 1000ms, idleTimeout: 60m}, outlierDetection: {consecutiveErrors: 7, ejectionTime: 1s, maxEjectionTime: 1m, maxEjectedPercent: 50}",
      [],
    ],
    ["with an empty list where a list is not acted on", "routes: [{retry: {grpcCodes: []}}]", []],
    ["with slow start", "loadBalancer: {slowStart: {window: 30s}}", ["spec.loadBalancer.slowStart.window UNSUPPORTED"]],
    [
      "with a hash",
      "loadBalancer: {algorithm: ConsistentHash, consistentHash: {type: SourceIP}}",
      ["spec.loadBalancer.algorithm UNSUPPORTED", "spec.loadBalancer.consistentHash UNSUPPORTED"],
    ],
    ["with a zone preference", "loadBalancer: {zonePreference: PreferSameZone}", ["spec.loadBalancer.zonePreference UNSUPPORTED"]],
    [
      "with ejections",
      "outlierDetection: {consecutiveErrors: 5, successRate: {}}",
      ["spec.outlierDetection.successRate UNSUPPORTED", "spec.outlierDetection.consecutiveErrors UNSUPPORTED"],
    ],
    [
      "with limits",
      "connections: {max: 1, maxPendingRequests: 0}, routes: [{rateLimit: {requestsPerSecond: 1}}]",
      ["spec.connections.max UNSUPPORTED", "spec.connections.maxPendingRequests UNSUPPORTED", "spec.routes[0].rateLimit UNSUPPORTED"],
    ],
    [
      "with filters that come later",
      "routes: [{filters: [{type: URLRewrite, urlRewrite: {}}, {type: RequestMirror, requestMirror: {backendRef: {name: x, port: 1}}}]}]",
      ["spec.routes[0].filters[0].urlRewrite UNSUPPORTED", "spec.routes[0].filters[1].requestMirror UNSUPPORTED"],
    ],
    ["with a misspelt field", "loadBalancers: {}", ["spec.loadBalancers UNKNOWN"]],
    [
      "with a wrong type, told once",
      "loadBalancer: {algorithm: 5}, routes: {}",
      ["spec.loadBalancer.algorithm INVALID", "spec.routes INVALID"],
    ],
  ])("%s", (_name, spec, expected) => {
    assert.deepEqual(told(traffic("a", "reviews", spec)), expected);
  });

  it("for a route is not acted on yet", () => {
    const yaml =
      "{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {name: a, namespace: shop}, spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: x}]}}";
    assert.deepEqual(told(yaml), ["spec.targetRefs[0].kind UNSUPPORTED"]);
  });

  it("answers for what was written, not for its status", () => {
    const [object] = read(traffic("a", "reviews", "connections: {}"));
    assert.deepEqual(validate({ ...object!, status: { whatever: 1 } }), []);
  });
});

describe("a MeshIdentity", () => {
  it.each([
    [
      "mesh in weft-system may say everything that works",
      "weft-system/mesh",
      "trustDomain: x.test, issuer: {selfSigned: {}}, certificates: {ttl: 60s}, mtls: {mode: Strict, minimum: Permissive}",
      [],
    ],
    ["mesh elsewhere may not", "shop/mesh", "trustDomain: x.test", ["spec.trustDomain INVALID"]],
    ["mesh speaks for all and has no selector", "weft-system/mesh", "selector: {matchLabels: {app: x}}", ["spec.selector INVALID"]],
    ["with a certificate below a minute", "weft-system/mesh", "certificates: {ttl: 59s}", ["spec.certificates.ttl INVALID"]],
    ["with a CA of the user's own", "weft-system/mesh", "issuer: {secretRef: {name: ca}}", ["spec.issuer.secretRef UNSUPPORTED"]],
    ["of some workloads", "shop/a", "selector: {matchLabels: {app: x}}, mtls: {mode: Strict, ports: [{port: 1, mode: Disabled}]}", []],
  ])("%s", (_name, key, spec, expected) => {
    assert.deepEqual(told(identity(key, spec)), expected);
  });
});

describe("another kind", () => {
  it.each([
    [
      "AccessPolicy is refused loudly",
      "{apiVersion: weft.dev/v1alpha1, kind: AccessPolicy, metadata: {name: a}, spec: {selector: {}}}",
      ["kind UNSUPPORTED"],
    ],
    [
      "an AccessPolicy that is wrong is invalid too",
      "{apiVersion: weft.dev/v1alpha1, kind: AccessPolicy, metadata: {name: a}, spec: {}}",
      ["spec INVALID", "kind UNSUPPORTED"],
    ],
    ["GRPCRoute is refused", "{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: a}}", ["kind UNSUPPORTED"]],
    [
      "a version of ours that does not exist is invalid",
      "{apiVersion: weft.dev/v9, kind: TrafficPolicy, metadata: {name: a}}",
      ["apiVersion INVALID"],
    ],
    ["Kubernetes' own are not ours to judge", "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: 5}", []],
    ["other people's are not either", "{apiVersion: kuma.io/v1alpha1, kind: MeshIdentity, metadata: {name: a}, spec: {}}", []],
  ])("%s", (_name, yaml, expected) => {
    assert.deepEqual(told(yaml), expected);
  });
});
