import type { LogLevel } from "#runtime/logger.ts";

/** What the injector writes into pods besides what the pods themselves say. */
export interface InjectionSettings {
  readonly image: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly trustDomain: string;
  /** "host:port" of the operator's gRPC port, as a pod reaches it. */
  readonly operatorAddress: string;
  /** PEM roots that a new pod is to trust. */
  readonly trustBundlePem: string;
  /** Of proxies whose pod names no other. */
  readonly logLevel: LogLevel;
  /** Weft's own namespace: never injected. */
  readonly systemNamespace: string;
}
