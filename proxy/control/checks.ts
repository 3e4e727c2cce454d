import { isIP } from "node:net";
import type { ErrorCode } from "#api/errors.ts";
import {
  type Document,
  type Endpoint,
  type Endpoints,
  MtlsMode,
  Protocol,
  type Service,
  type Trust,
  type Workload,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { parseSpiffeId } from "#api/spiffe.ts";
import { type ParsedKey, parseKey } from "./keys.ts";

export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
}

export interface CheckContext {
  readonly features: ReadonlySet<string>;
  readonly trustDomain: string;
  /** Our own id: a workload document for another is not ours. */
  readonly spiffeId: string;
  /** True when every root is a certificate that can be used. */
  readonly rootsReadable: (roots: readonly Uint8Array[]) => boolean;
}

/**
 * Why a document must not be applied; null when it may. What a service's routes mean, and whether that can be compiled, is
 * mesh/decide's to say; here is what we rely on ourselves. Unknown enum values are refused: a mode that we do
 * not know must not fall back to a weaker one.
 */
export function refusalOf(document: Document, context: CheckContext): Refusal | null {
  const lacking = document.requires.filter((feature) => !context.features.has(feature));
  if (lacking.length > 0) return { code: "WEFT_UNKNOWN_FEATURE", reason: `needs ${lacking.join(", ")}` };
  const key = parseKey(document.key);
  if (key === null || document.version === "") return bad("no usable key or version");
  const body = document.body;
  if (body.case !== key.kind) return bad(`the body is ${body.case ?? "missing"}, the key says ${key.kind}`);
  const reason =
    body.case === "workload"
      ? workloadFault(body.value, key, context)
      : body.case === "service"
        ? serviceFault(body.value, key)
        : body.case === "endpoints"
          ? endpointsFault(body.value, context)
          : trustFault(body.value, context);
  return reason === null ? null : bad(reason);
}

export function bad(reason: string): Refusal {
  return { code: "WEFT_BAD_DOCUMENT", reason };
}

function workloadFault(workload: Workload, key: ParsedKey, context: CheckContext): string | null {
  if (workload.namespace !== key.namespace || workload.pod !== key.name) return "the body is of another pod than the key";
  if (workload.spiffeId !== context.spiffeId) return `it is for ${workload.spiffeId}, we are ${context.spiffeId}`;
  if (!knownMode(workload.mtlsMode)) return "mtls_mode is unknown";
  const seen = new Set<number>();
  for (const port of workload.ports) {
    if (!isPort(port.port) || seen.has(port.port)) return `port ${port.port} is invalid or listed twice`;
    if (!knownMode(port.mtlsMode) || !knownProtocol(port.protocol)) return `port ${port.port} has an unknown mode or protocol`;
    seen.add(port.port);
  }
  return null;
}

function serviceFault(service: Service, key: ParsedKey): string | null {
  if (service.namespace !== key.namespace || service.name !== key.name || service.port !== key.port)
    return "the body is of another Service than the key";
  if (!knownProtocol(service.protocol)) return "protocol is unknown";
  if (service.clusters.length === 0) return "it has no cluster";
  for (const cluster of service.clusters) {
    if (parseKey(cluster.endpoints)?.kind !== "endpoints") return `cluster ${cluster.name} refers to ${cluster.endpoints}`;
  }
  for (const route of service.routes) {
    for (const backend of route.backends) {
      if (!backend.unresolved && backend.cluster >= service.clusters.length)
        return `route ${route.name} refers to cluster ${backend.cluster}`;
    }
    for (const fraction of [route.faults?.delay?.fraction, route.faults?.abort?.fraction]) {
      if (fraction?.denominator === 0) return `route ${route.name} divides by zero`;
    }
  }
  return null;
}

function endpointsFault(endpoints: Endpoints, context: CheckContext): string | null {
  for (const endpoint of endpoints.upserts) {
    const fault = endpointFault(endpoint, context);
    if (fault !== null) return `endpoint ${endpoint.address}:${endpoint.port}: ${fault}`;
  }
  return null;
}

function endpointFault(endpoint: Endpoint, context: CheckContext): string | null {
  if (isIP(endpoint.address) === 0) return "not an IP address";
  if (!isPort(endpoint.port)) return "not a port";
  if (endpoint.spiffeId === "") return null;
  const id = parseSpiffeId(endpoint.spiffeId);
  // Ours alone can be verified: there is one bundle.
  return id === null || id.trustDomain !== context.trustDomain ? `${endpoint.spiffeId} is no id of this trust domain` : null;
}

function trustFault(trust: Trust, context: CheckContext): string | null {
  if (trust.trustDomain !== context.trustDomain) return `it is of trust domain ${trust.trustDomain}`;
  return trust.roots.length > 0 && context.rootsReadable(trust.roots) ? null : "a root is missing or unreadable";
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

function knownMode(mode: MtlsMode): boolean {
  return mode === MtlsMode.STRICT || mode === MtlsMode.PERMISSIVE || mode === MtlsMode.DISABLED;
}

function knownProtocol(protocol: Protocol): boolean {
  return protocol === Protocol.TCP || protocol === Protocol.HTTP;
}
