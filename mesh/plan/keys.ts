/** Keys of documents (api/proto/weft/discovery/v1) and of objects. */

export type DocumentRef =
  | { readonly type: "workload"; readonly key: string }
  | { readonly type: "service" | "endpoints"; readonly key: string; readonly port: number };

export function workloadKey(pod: string): string {
  return `workload/${pod}`;
}

export function serviceKey(service: string, port: number): string {
  return `service/${service}/${port}`;
}

export function endpointsKey(service: string, port: number): string {
  return `endpoints/${service}/${port}`;
}

/** What a document key names; null for `trust`, for variants (there are none yet), and for anything that is no key. */
export function parseDocumentKey(key: string): DocumentRef | null {
  const [type, namespace, name, port, ...rest] = key.split("/");
  if (namespace === undefined || name === undefined || rest.length > 0) return null;
  if (type === "workload" && port === undefined) return { type, key: `${namespace}/${name}` };
  if ((type === "service" || type === "endpoints") && port !== undefined && /^[1-9]\d{0,4}$/.test(port)) {
    return { type, key: `${namespace}/${name}`, port: Number(port) };
  }
  return null;
}

/** "kind/namespace/name": how lastGood and statuses are keyed. */
export function objectKey(kind: string, key: string): string {
  return `${kind}/${key}`;
}

export function splitObjectKey(key: string): [kind: string, key: string] {
  const slash = key.indexOf("/");
  return [key.slice(0, slash), key.slice(slash + 1)];
}
