import { parseAllDocuments } from "yaml";
import type { KubeObject } from "#api/resources/kube.ts";

/** Objects of a YAML stream. Throws on YAML that cannot be read: a test's own mistake. */
export function read(text: string): KubeObject[] {
  return parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as KubeObject;
  });
}

export function service(name: string, spec: string, metadata = ""): string {
  return `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: shop${metadata}}, spec: {selector: {app: ${name}}, ${spec}}}\n---\n`;
}

export function pod(name: string, labels: string, more: { address?: string; spec?: string; status?: string; metadata?: string } = {}): string {
  const { address = "10.0.0.1", spec = "containers: [{name: app, ports: [{containerPort: 8080}]}]", status = "", metadata = "" } = more;
  return `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: shop, labels: {${labels}}${metadata}}, spec: {serviceAccountName: ${name}, ${spec}}, status: {podIP: ${address}${status}}}\n---\n`;
}

export function slice(ofService: string, endpoints: string, more: { ports?: string; metadata?: string } = {}): string {
  const { ports = "{name: http, port: 8080}", metadata = "" } = more;
  return `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${ofService}-1, namespace: shop, labels: {kubernetes.io/service-name: ${ofService}}${metadata}}, addressType: IPv4, ports: [${ports}], endpoints: [${endpoints}]}\n---\n`;
}

export function traffic(name: string, target: string, spec: string, metadata = ""): string {
  return `{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {name: ${name}, namespace: shop${metadata}}, spec: {targetRefs: [{group: "", kind: Service, name: ${target}}], ${spec}}}\n---\n`;
}

export function identity(key: string, spec: string, metadata = ""): string {
  const [namespace, name] = key.split("/");
  return `{apiVersion: weft.dev/v1alpha1, kind: MeshIdentity, metadata: {name: ${name}, namespace: ${namespace}${metadata}}, spec: {${spec}}}\n---\n`;
}
