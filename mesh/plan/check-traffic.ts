import { TRAFFIC_POLICY_DEFAULTS } from "#api/resources/defaults.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { checkWithin, msOr } from "./check-duration.ts";
import { checkRoute } from "./check-route.ts";
import { list, record, text } from "./facts.ts";
import type { Findings } from "./problem.ts";

/**
 * What it takes two fields of a TrafficPolicy to see. The CRD's CEL rules say the same, so that an API server refuses
 * what we would; crds/testdata holds the two equal. Reads tolerantly: what has the wrong type is the schema's to report.
 */
export function checkTrafficPolicy(object: KubeObject, findings: Findings): void {
  const spec = record(object.spec);
  checkTargets(spec, findings);
  checkLoadBalancer(record(spec["loadBalancer"]), findings);
  checkWithin(findings, "spec.connections.connectTimeout", record(spec["connections"])["connectTimeout"], "1ms", "1m");
  checkOutliers(spec["outlierDetection"], findings);
  const names = new Map<string, number>();
  for (const [position, route] of list(spec["routes"]).entries()) {
    const path = `spec.routes[${position}]`;
    checkRoute(record(route), path, findings);
    const name = record(route)["name"];
    if (typeof name !== "string") continue;
    const first = names.get(name);
    if (first === undefined) names.set(name, position);
    else findings.invalid(`${path}.name`, `spec.routes[${first}] has the name ${name} too`, "give each route a name of its own, or none");
  }
}

function checkTargets(spec: Readonly<Record<string, unknown>>, findings: Findings): void {
  const targets = list(spec["targetRefs"]).map(record);
  const seen = new Set<string>();
  for (const [position, target] of targets.entries()) {
    const path = `spec.targetRefs[${position}]`;
    if ((target["kind"] === "Service") !== (target["group"] === "")) {
      findings.invalid(
        `${path}.group`,
        `${JSON.stringify(target["group"] ?? "")} has no kind ${text(target["kind"])}`,
        'write "" for a Service and gateway.networking.k8s.io for an HTTPRoute or GRPCRoute',
      );
    }
    const key = JSON.stringify([target["kind"], target["name"], target["sectionName"] ?? ""]);
    if (seen.has(key)) findings.invalid(path, "names the same target twice", "remove one of the two");
    seen.add(key);
  }
  const routes = targets.filter((target) => target["kind"] !== "Service");
  if (routes.length > 0 && routes.length < targets.length) {
    findings.invalid(
      "spec.targetRefs",
      "names Services and routes together",
      "write one policy for the Services and another for the routes",
    );
  }
  if (routes.length > 0) checkRoutePolicy(spec, findings);
}

/** A policy for an HTTPRoute or GRPCRoute only adds to what that route says. */
function checkRoutePolicy(spec: Readonly<Record<string, unknown>>, findings: Findings): void {
  for (const field of ["subsets", "loadBalancer", "connections", "outlierDetection"]) {
    if (spec[field] !== undefined) {
      findings.invalid(`spec.${field}`, "does not belong to a policy for a route", "move it to a policy for the Service");
    }
  }
  const routes = list(spec["routes"]).map(record);
  if (routes.length > 1) findings.invalid("spec.routes", "has more than one entry in a policy for a route", "keep one");
  if (routes.some((route) => route["matches"] !== undefined || route["backendRefs"] !== undefined)) {
    findings.invalid("spec.routes", "has matches or backendRefs in a policy for a route", "remove them: the route itself has them");
  }
}

function checkLoadBalancer(balancer: Readonly<Record<string, unknown>>, findings: Findings): void {
  const path = "spec.loadBalancer";
  const hash = balancer["consistentHash"];
  if ((balancer["algorithm"] === "ConsistentHash") !== (hash !== undefined)) {
    const remedy = hash === undefined ? "say what to hash" : "remove it or write algorithm: ConsistentHash";
    findings.invalid(`${path}.consistentHash`, "is given exactly when algorithm is ConsistentHash", remedy);
  }
  if (hash !== undefined) {
    for (const [type, field] of [
      ["Header", "header"],
      ["Cookie", "cookie"],
    ] as const) {
      if ((record(hash)["type"] === type) === (record(hash)[field] !== undefined)) continue;
      findings.invalid(`${path}.consistentHash.${field}`, `is given exactly when type is ${type}`, `add ${field} or change type`);
    }
  }
  checkWithin(findings, `${path}.slowStart.window`, record(balancer["slowStart"])["window"], "0s", "1h");
}

function checkOutliers(value: unknown, findings: Findings): void {
  if (value === undefined) return;
  const path = "spec.outlierDetection";
  const outliers = record(value);
  const defaults = TRAFFIC_POLICY_DEFAULTS.outlierDetection;
  checkWithin(findings, `${path}.successRate.interval`, record(outliers["successRate"])["interval"], "1s", "1h");
  checkWithin(findings, `${path}.ejectionTime`, outliers["ejectionTime"], "1ms", "24h");
  checkWithin(findings, `${path}.maxEjectionTime`, outliers["maxEjectionTime"], "1ms", "24h");
  const least = msOr(outliers["ejectionTime"], defaults.ejectionTime);
  const most = msOr(outliers["maxEjectionTime"], defaults.maxEjectionTime);
  if (least !== null && most !== null && least > most) {
    findings.invalid(`${path}.ejectionTime`, "is longer than maxEjectionTime", "shorten it or raise maxEjectionTime");
  }
}
