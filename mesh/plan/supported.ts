import { parseDuration } from "#api/duration.ts";
import { TRAFFIC_POLICY_DEFAULTS } from "#api/resources/defaults.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { WeftKind } from "#api/resources/schema-walk.ts";
import { list, record, text } from "./facts.ts";
import type { Findings } from "./problem.ts";

/**
 * What the schemas define and this version does not act on yet. A field that is ignored would be a promise broken in
 * silence, so it is refused, unless it says what holds anyway: its default.
 */
export function checkSupported(kind: WeftKind, object: KubeObject, findings: Findings): void {
  const spec = record(object.spec);
  if (kind === "AccessPolicy") {
    findings.unsupported(
      "kind",
      "AccessPolicy is not enforced in this version of Weft: nothing is denied by it",
      "remove it, and keep access closed by other means until it is",
    );
  } else if (kind === "MeshIdentity") {
    if (record(spec["issuer"])["secretRef"] !== undefined) unsupported(findings, "spec.issuer.secretRef", "write selfSigned: {} instead");
  } else {
    checkTraffic(spec, findings);
  }
}

const NOT_YET = "is not acted on in this version of Weft";
const ALGORITHMS_LATER = ["LeastRequest", "Random", "ConsistentHash"];
const FILTERS_LATER = { RequestMirror: "requestMirror", RequestRedirect: "requestRedirect", URLRewrite: "urlRewrite" } as const;

function unsupported(findings: Findings, path: string, remedy?: string): void {
  findings.unsupported(path, NOT_YET, remedy);
}

function checkTraffic(spec: Readonly<Record<string, unknown>>, findings: Findings): void {
  for (const [position, target] of list(spec["targetRefs"]).entries()) {
    const kind = record(target)["kind"];
    if (kind !== "HTTPRoute" && kind !== "GRPCRoute") continue;
    findings.unsupported(`spec.targetRefs[${position}].kind`, `${kind} ${NOT_YET}`, "target the Service");
  }
  const balancer = record(spec["loadBalancer"]);
  const defaults = TRAFFIC_POLICY_DEFAULTS;
  const algorithm = text(balancer["algorithm"]);
  if (ALGORITHMS_LATER.includes(algorithm)) {
    findings.unsupported("spec.loadBalancer.algorithm", `${algorithm} ${NOT_YET}`, "write PeakEWMA or RoundRobin");
  }
  if (balancer["consistentHash"] !== undefined) unsupported(findings, "spec.loadBalancer.consistentHash");
  if (balancer["zonePreference"] !== undefined) unsupported(findings, "spec.loadBalancer.zonePreference");
  unlessDefault(findings, "spec.loadBalancer.slowStart", balancer["slowStart"], defaults.loadBalancer.slowStart);
  const { max, maxPendingRequests } = record(spec["connections"]);
  unlessDefault(findings, "spec.connections.max", max, defaults.connections.max);
  unlessDefault(findings, "spec.connections.maxPendingRequests", maxPendingRequests, defaults.connections.maxPendingRequests);
  const { successRate, ...outliers } = record(spec["outlierDetection"]);
  // Its mere presence turns it on, whatever it says.
  if (successRate !== undefined) unsupported(findings, "spec.outlierDetection.successRate");
  unlessDefault(findings, "spec.outlierDetection", outliers, defaults.outlierDetection);
  for (const [position, route] of list(spec["routes"]).entries()) checkRoute(record(route), `spec.routes[${position}]`, findings);
}

function checkRoute(route: Readonly<Record<string, unknown>>, path: string, findings: Findings): void {
  if (list(record(route["retry"])["grpcCodes"]).length > 0) unsupported(findings, `${path}.retry.grpcCodes`);
  if (route["rateLimit"] !== undefined) unsupported(findings, `${path}.rateLimit`);
  for (const [position, filter] of list(route["filters"]).entries()) {
    for (const [type, field] of Object.entries(FILTERS_LATER)) {
      if (record(filter)["type"] === type) unsupported(findings, `${path}.filters[${position}].${field}`, "remove the filter");
    }
  }
}

/** Objects are compared field by field, durations by their length: "1000ms" is the default "1s". */
function unlessDefault(findings: Findings, path: string, value: unknown, standard: unknown): void {
  if (value === undefined || same(value, standard)) return;
  if (typeof standard === "object" && standard !== null) {
    for (const [name, item] of Object.entries(record(value))) {
      if (Object.hasOwn(standard, name)) unlessDefault(findings, `${path}.${name}`, item, record(standard)[name]);
    }
    return;
  }
  findings.unsupported(path, `only its default, ${String(standard)}, is acted on in this version of Weft`, "remove it");
}

function same(value: unknown, standard: unknown): boolean {
  if (value === standard) return true;
  if (typeof value !== "string" || typeof standard !== "string") return false;
  const ms = parseDuration(value);
  return ms !== null && ms === parseDuration(standard);
}
