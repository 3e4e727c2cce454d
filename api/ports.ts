/** Well-known ports of Weft's own parts (DESIGN section 5). */
export const PORTS = {
  outboundCapture: 16801,
  inboundCapture: 16802,
  proxyAdmin: 16803,
  probe: 16804,
  operatorGrpc: 16810,
  operatorDashboard: 16811,
  operatorAdmin: 16812,
  webhook: 16820,
  webhookAdmin: 16821,
} as const;

/** ALPN protocol names between sidecars. The version is part of the name. */
export const ALPN = { http2: "weft-h2/1", http1: "weft-h1/1", tcp: "weft-tcp/1" } as const;

/** Server name that marks a connection as one of the mesh; never an identity. */
export function meshServerName(trustDomain: string): string {
  return `pod.weft.${trustDomain}`;
}

/** Fields with this prefix belong to Weft and are stripped from what applications send, at both ends. */
export const OWN_FIELD_PREFIX = "weft-";

/** The operator's own workload identity. */
export const OPERATOR = { namespace: "weft-system", serviceAccount: "weft-operator" } as const;

/** Features a proxy can announce and a document can require (`requires`). */
export const FEATURES = ["routes", "retry", "faults", "header-filters", "subsets"] as const;
export type Feature = (typeof FEATURES)[number];
