/** What the injector writes into a pod and what proxy, proxy-init and operator read there. */

/** On a namespace or a pod: "enabled" or "disabled"; the pod's word counts more. */
export const INJECT_LABEL = "weft.dev/inject";
/** On an injected pod: version of Weft that injected it. For people and PodMonitors; nothing is decided by it. */
export const PROXY_LABEL = "weft.dev/proxy";

/** Names that injected containers and volumes have, and that nobody else's may. */
export const SIDECAR = { init: "weft-init", proxy: "weft-proxy", stateVolume: "weft-state", tokenVolume: "weft-token" } as const;

/** User and group of the proxy; the redirect rules leave out what this user sends. */
export const PROXY_UID = 16800;

/** Audience of the token that proves to the operator who a pod is. */
export const TOKEN_AUDIENCE = "weft";

/** Folders and files in the proxy's container. */
export const SIDECAR_PATHS = {
  /** Where the state volume is mounted: memory, this container alone. */
  volume: "/run/weft",
  stateDir: "/run/weft/state",
  /** The proxy writes the value of WEFT_TRUST_BUNDLE here at each start. */
  bundle: "/run/weft/trust-bundle.pem",
  adminSocket: "/run/weft/admin.sock",
  tokenDir: "/var/run/secrets/weft",
  token: "/var/run/secrets/weft/token",
} as const;

/** Variables of the proxy's container. */
export const SIDECAR_ENV = {
  podName: "WEFT_POD_NAME",
  podNamespace: "WEFT_POD_NAMESPACE",
  podUid: "WEFT_POD_UID",
  podIp: "WEFT_POD_IP",
  /** All addresses, comma-separated: both families where the cluster has them. */
  podIps: "WEFT_POD_IPS",
  serviceAccount: "WEFT_SERVICE_ACCOUNT",
  /** PEM roots known when the pod was made. */
  trustBundle: "WEFT_TRUST_BUNDLE",
  /** ProxyBootstrap as JSON (api/bootstrap.ts). */
  bootstrap: "WEFT_BOOTSTRAP",
  /** ProbeTable as JSON. */
  probes: "WEFT_PROBES",
} as const;

export const PROBE_KINDS = ["liveness", "readiness", "startup", "postStart", "preStop"] as const;
export type ProbeKind = (typeof PROBE_KINDS)[number];

/** Key "<container>/<kind>", as in the path that the kubelet is given instead: `/probe/<container>/<kind>`. */
export type ProbeTable = Readonly<Record<string, ProbeTarget>>;

/** One probe or hook as its author wrote it; ports are numbers already, and the host is the pod itself. */
export type ProbeTarget = ProbeAction & {
  /** How long the author gives the app to answer. 0: as long as it takes (hooks have no limit of their own). */
  readonly timeoutSeconds: number;
};

export type ProbeAction =
  | {
      readonly type: "http";
      readonly port: number;
      /** With its query, as written; "/" when none was. */
      readonly path: string;
      /** HTTPS: the certificate is not checked, as the kubelet does not. */
      readonly scheme: "HTTP" | "HTTPS";
      readonly headers: readonly { readonly name: string; readonly value: string }[];
    }
  | { readonly type: "tcp"; readonly port: number }
  /** grpc.health.v1 Check of `service`; "" asks for the server as a whole. */
  | { readonly type: "grpc"; readonly port: number; readonly service: string };

/** Path that the kubelet asks on the probe port. */
export function probePath(container: string, kind: ProbeKind): string {
  return `/probe/${container}/${kind}`;
}
