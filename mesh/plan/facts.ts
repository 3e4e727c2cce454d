import type { KubeObject } from "#api/resources/kube.ts";
import { IDENTITY_ANNOTATION, SERVICE_NAME_LABEL } from "#api/resources/kube.ts";

/**
 * Kubernetes' own objects, read once at the edge into types that cannot be wrong. A store may hold anything
 * (standalone has no API server that validates), so a part that does not have its documented shape is left
 * out, never guessed, and never throws.
 */

export type Labels = ReadonlyMap<string, string>;

export interface Facts {
  readonly namespace: string;
  readonly name: string;
  /** "namespace/name". */
  readonly key: string;
  readonly resourceVersion: bigint;
  readonly labels: Labels;
}

/** A TCP port of a Service. UDP and SCTP never enter a proxy. */
export interface ServicePortFacts {
  readonly name: string;
  readonly port: number;
  readonly http: boolean;
  /** Number, or the name of a containerPort. */
  readonly targetPort: number | string;
}

export interface ServiceFacts extends Facts {
  /** Null: selects no pods by itself (its EndpointSlices are somebody else's). */
  readonly selector: Labels | null;
  readonly ports: readonly ServicePortFacts[];
  readonly ipv6: boolean;
}

export interface PodPortFacts {
  readonly name: string;
  readonly port: number;
}

export interface PodFacts extends Facts {
  readonly serviceAccount: string;
  readonly address: string;
  readonly ports: readonly PodPortFacts[];
  /** Its processes have ended for good (phase Succeeded or Failed): its address may belong to another by now. */
  readonly gone: boolean;
  readonly deleting: boolean;
  readonly meshed: boolean;
}

export interface EndpointFacts {
  readonly address: string;
  readonly ready: boolean;
  /** "namespace/name" of the pod behind it, "" when the slice names none. */
  readonly pod: string;
  readonly zone: string;
}

export interface SliceFacts extends Facts {
  /** "namespace/name" of the Service it belongs to. */
  readonly service: string;
  readonly ipv6: boolean;
  readonly endpoints: readonly EndpointFacts[];
  /** By port name; "" for the unnamed one. */
  readonly ports: ReadonlyMap<string, number>;
  /** Whose SVID its endpoints present; "invalid" when the annotation cannot be read, null without one. */
  readonly identity: { readonly namespace: string; readonly serviceAccount: string } | "invalid" | null;
}

/** On a pod, as label or annotation: "disabled" keeps it out of the mesh. */
export const INJECT = "weft.dev/inject";

const DEFAULT_NAMESPACE = "default";
/** RFC 1123 subdomain: what Kubernetes allows as a name, and all that fits in a document key and a SPIFFE id. */
const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const IPV4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;
const IPV6 = /^(?=.*:)[0-9a-fA-F:]{2,39}(:\d{1,3}(\.\d{1,3}){3})?$/;

/** The value as an object with unknown fields; an empty one when it is anything else. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function isName(value: string): boolean {
  return NAME.test(value);
}

export function isAddress(value: string): boolean {
  return IPV4.test(value) || IPV6.test(value);
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65535;
}

export function labels(value: unknown): Labels {
  const result = new Map<string, string>();
  for (const [key, item] of Object.entries(record(value))) if (typeof item === "string") result.set(key, item);
  return result;
}

/** Opaque by Kubernetes' rules, but in practice a growing number; anything else counts as 0. */
export function revision(value: unknown): bigint {
  return typeof value === "string" && /^\d{1,18}$/.test(value) ? BigInt(value) : 0n;
}

/** Name, namespace and key, or null when the names could not stand in a document key. */
export function readMeta(object: KubeObject): Facts | null {
  const metadata = record(object.metadata);
  const name = text(metadata["name"]);
  const namespace = text(metadata["namespace"]) || DEFAULT_NAMESPACE;
  if (!isName(name) || !isName(namespace)) return null;
  return {
    namespace,
    name,
    key: `${namespace}/${name}`,
    resourceVersion: revision(metadata["resourceVersion"]),
    labels: labels(metadata["labels"]),
  };
}

export function readService(object: KubeObject): ServiceFacts | null {
  const meta = readMeta(object);
  const spec = record(object.spec);
  if (meta === null || spec["type"] === "ExternalName") return null;
  const ports: ServicePortFacts[] = [];
  for (const item of list(spec["ports"])) {
    const { port, name, protocol = "TCP", appProtocol, targetPort } = record(item);
    if (!isPort(port) || protocol !== "TCP" || ports.some((other) => other.port === port)) continue;
    const target = isPort(targetPort) || (typeof targetPort === "string" && targetPort !== "") ? targetPort : port;
    ports.push({ name: text(name), port, http: isHttp(text(name), appProtocol), targetPort: target });
  }
  const selector = labels(spec["selector"]);
  return { ...meta, selector: selector.size === 0 ? null : selector, ports, ipv6: text(spec["clusterIP"]).includes(":") };
}

/**
 * HTTP/1.x is what a port declares, all else is TCP. appProtocol (an IANA name, RFC 6335: case does not count) wins over
 * the port's name. h2c, gRPC and ws stay TCP until the data plane speaks them.
 */
function isHttp(name: string, appProtocol: unknown): boolean {
  if (typeof appProtocol === "string" && appProtocol !== "") return appProtocol.toLowerCase() === "http";
  return name === "http" || name.startsWith("http-");
}

export function readPod(object: KubeObject): PodFacts | null {
  const meta = readMeta(object);
  if (meta === null) return null;
  const spec = record(object.spec);
  const status = record(object.status);
  const metadata = record(object.metadata);
  const serviceAccount = text(spec["serviceAccountName"]) || "default";
  if (!isName(serviceAccount)) return null;
  const ports: PodPortFacts[] = [];
  for (const container of list(spec["containers"])) {
    for (const item of list(record(container)["ports"])) {
      const { containerPort, name, protocol = "TCP" } = record(item);
      if (!isPort(containerPort) || protocol !== "TCP" || ports.some((other) => other.port === containerPort)) continue;
      ports.push({ name: text(name), port: containerPort });
    }
  }
  const phase = status["phase"];
  const inject = labels(metadata["annotations"]).get(INJECT) ?? meta.labels.get(INJECT);
  return {
    ...meta,
    serviceAccount,
    address: text(status["podIP"]),
    ports,
    gone: phase === "Succeeded" || phase === "Failed",
    deleting: text(metadata["deletionTimestamp"]) !== "",
    meshed: inject !== "disabled",
  };
}

export function readSlice(object: KubeObject): SliceFacts | null {
  const meta = readMeta(object);
  const service = meta?.labels.get(SERVICE_NAME_LABEL) ?? "";
  const fields = record(object);
  const addressType = fields["addressType"] ?? "IPv4";
  if (meta === null || !isName(service) || (addressType !== "IPv4" && addressType !== "IPv6")) return null;
  const ports = new Map<string, number>();
  for (const item of list(fields["ports"])) {
    const { port, name, protocol = "TCP" } = record(item);
    if (isPort(port) && protocol === "TCP") ports.set(text(name), port);
  }
  const endpoints: EndpointFacts[] = [];
  for (const item of list(fields["endpoints"])) {
    const endpoint = readEndpoint(record(item), meta.namespace);
    if (endpoint !== null) endpoints.push(endpoint);
  }
  const identity = readIdentity(labels(record(object.metadata)["annotations"]).get(IDENTITY_ANNOTATION));
  return { ...meta, service: `${meta.namespace}/${service}`, ipv6: addressType === "IPv6", endpoints, ports, identity };
}

function readEndpoint(fields: Readonly<Record<string, unknown>>, namespace: string): EndpointFacts | null {
  // Only the first: the addresses of one endpoint are fungible, and Kubernetes' own consumers use the first.
  const address = text(list(fields["addresses"])[0]);
  if (!isAddress(address)) return null;
  const { ready, terminating } = record(fields["conditions"]);
  const target = record(fields["targetRef"]);
  const pod =
    target["kind"] === "Pod" && isName(text(target["name"])) ? `${text(target["namespace"]) || namespace}/${text(target["name"])}` : "";
  return { address, ready: ready !== false && terminating !== true, pod, zone: text(fields["zone"]) };
}

function readIdentity(annotation: string | undefined): SliceFacts["identity"] {
  if (annotation === undefined) return null;
  const [namespace = "", serviceAccount = "", ...rest] = annotation.split("/");
  return rest.length === 0 && isName(namespace) && isName(serviceAccount) ? { namespace, serviceAccount } : "invalid";
}

/** True when every label of the selector is there. An empty selector selects everything. */
export function selects(selector: Labels, candidate: Labels): boolean {
  for (const [key, value] of selector) if (candidate.get(key) !== value) return false;
  return true;
}
