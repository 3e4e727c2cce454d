import type { ProxyBootstrap } from "#api/bootstrap.ts";
import { PORTS } from "#api/ports.ts";
import { SIDECAR_ENV, SIDECAR_PATHS } from "#api/sidecar.ts";
import type { LogLevel } from "#runtime/logger.ts";
import type { InjectionSettings } from "./settings.ts";

/**
 * The proxy's bootstrap as the value of an environment variable. What is known only when the pod has its place (name,
 * address) is written as `$(VARIABLE)`, which the kubelet replaces by the downward API's values: none of them can hold
 * a character that JSON would have to escape. No explicit listeners: the redirect rules bring the traffic.
 */
export function bootstrapValue(settings: Pick<InjectionSettings, "trustDomain" | "operatorAddress">, logLevel: LogLevel): string {
  const variable = (name: keyof typeof SIDECAR_ENV): string => `$(${SIDECAR_ENV[name]})`;
  const bootstrap: ProxyBootstrap = {
    workload: { namespace: variable("podNamespace"), pod: variable("podName"), serviceAccount: variable("serviceAccount") },
    trustDomain: settings.trustDomain,
    controlPlane: { address: settings.operatorAddress, bundlePath: SIDECAR_PATHS.bundle },
    tokenPath: SIDECAR_PATHS.token,
    stateDir: SIDECAR_PATHS.stateDir,
    podAddress: variable("podIp"),
    appAddress: variable("podIp"),
    inbound: [],
    outbound: [],
    adminPort: PORTS.proxyAdmin,
    adminSocket: SIDECAR_PATHS.adminSocket,
    logLevel,
  };
  return JSON.stringify(bootstrap);
}

/** JSON in which the kubelet finds nothing to replace, whatever the pod's author wrote. */
export function literalJson(value: unknown): string {
  // In JSON a dollar sign stands in texts only, where its escape means the same.
  return JSON.stringify(value).replaceAll("$", "\\u0024");
}
