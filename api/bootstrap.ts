/**
 * All a proxy must be told at birth, as JSON in the file that `weft proxy --bootstrap FILE` names. What a
 * user may tune is in TrafficPolicy; the rest is ours to get right.
 */
export interface ProxyBootstrap {
  readonly workload: { readonly namespace: string; readonly pod: string; readonly serviceAccount: string };
  readonly trustDomain: string;
  readonly controlPlane: {
    /** "address:port" of the operator's gRPC port. */
    readonly address: string;
    /** File with the PEM roots known at birth. */
    readonly bundlePath: string;
  };
  /** File with the token that proves who this pod is. Read again at each use: tokens rotate. */
  readonly tokenPath: string;
  /** Folder for key, SVID, bundle and last-good documents, owner-only; survives a restart of the proxy. */
  readonly stateDir: string;
  /** IP address of the pod: inbound listens there, and dials the app from there. */
  readonly podAddress: string;
  /** Address on which the app listens and which inbound dials. In Kubernetes the same as podAddress. */
  readonly appAddress: string;
  /** Inbound: one listener per port of the pod. `appPort` is where the app listens. */
  readonly inbound: readonly { readonly port: number; readonly appPort: number }[];
  /** Explicit outbound listeners (no redirect). */
  readonly outbound: readonly {
    readonly address: string;
    readonly port: number;
    readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
  }[];
  readonly adminPort: number;
  /** Unix socket for /config and /loglevel, owner-only. */
  readonly adminSocket: string;
  readonly logLevel: "error" | "warn" | "info" | "debug";
}
