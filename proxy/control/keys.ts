/** Names of documents (discovery.proto lists them). */
export type Kind = "workload" | "service" | "endpoints" | "trust";

export const TRUST_KEY = "trust";

export function workloadKey(namespace: string, pod: string): string {
  return `workload/${namespace}/${pod}`;
}

/** `consumer`: the namespace of the caller where a variant for it exists; absent: as every namespace sees the Service. */
export function serviceKey(namespace: string, name: string, port: number, consumer?: string): string {
  return `service/${namespace}/${name}/${port}${consumer === undefined ? "" : `@${consumer}`}`;
}

export function endpointsKey(namespace: string, name: string, port: number): string {
  return `endpoints/${namespace}/${name}/${port}`;
}

export interface ParsedKey {
  readonly kind: Kind;
  readonly namespace: string;
  /** Name of the Service or pod; "" for `trust`. */
  readonly name: string;
  /** 0 where the kind has none. */
  readonly port: number;
}

const NAME = "[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?";
const WITH_PORT = new RegExp(`^(service|endpoints)/(${NAME})/(${NAME})/([1-9][0-9]{0,4})(?:@(${NAME}))?$`);
const WORKLOAD = new RegExp(`^workload/(${NAME})/(${NAME})$`);

/** Null when the text is no key of a kind that we know. */
export function parseKey(key: string): ParsedKey | null {
  if (key === TRUST_KEY) return { kind: "trust", namespace: "", name: "", port: 0 };
  const workload = WORKLOAD.exec(key);
  if (workload !== null) return { kind: "workload", namespace: workload[1]!, name: workload[2]!, port: 0 };
  const match = WITH_PORT.exec(key);
  if (match === null || Number(match[4]) > 65_535) return null;
  const kind = match[1] as "service" | "endpoints";
  if (kind === "endpoints" && match[5] !== undefined) return null;
  return { kind, namespace: match[2]!, name: match[3]!, port: Number(match[4]) };
}
