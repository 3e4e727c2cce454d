import { PORTS } from "#api/ports.ts";
import { type ProbeTable, PROXY_UID, SIDECAR, SIDECAR_ENV, SIDECAR_PATHS, TOKEN_AUDIENCE } from "#api/sidecar.ts";
import type { ProxyAnnotations } from "./annotations.ts";
import { bootstrapValue, literalJson } from "./bootstrap.ts";
import type { Json } from "./pod.ts";
import type { InjectionSettings } from "./settings.ts";

/**
 * The two containers and two volumes of an injected pod. Fields that the API server would fill in are written out, so
 * that the pod we are shown again is the pod we made.
 */

/** A proxy that cannot get its first certificate is not helped by a restart: it waits as long as a slow cluster takes. */
const STARTUP_FAILURES_MAX = 600;
/** Above all that a node's kubelet needs to read a token again; the token itself is renewed at 80 % of this. */
const TOKEN_SECONDS = 3600;
/** Key, certificate, bundle and last-good documents; counts against the proxy's memory limit. */
const STATE_SIZE_MAX = "64Mi";
const READABLE_BY_ALL = 0o644;

const DEFAULTED = { terminationMessagePath: "/dev/termination-log", terminationMessagePolicy: "FallbackToLogsOnError" } as const;

/** Sets the redirect rules and checks them. Needs root for iptables, two capabilities, and nothing else. */
export function initContainer(settings: InjectionSettings): Json {
  return {
    name: SIDECAR.init,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    args: ["proxy-init"],
    // The legacy tables lock a file, and the root file system is read-only.
    env: [{ name: "XTABLES_LOCKFILE", value: "/dev/shm/weft-xtables.lock" }],
    resources: { requests: { cpu: "10m", memory: "32Mi" }, limits: { memory: "128Mi" } },
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      runAsNonRoot: false,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { add: ["NET_ADMIN", "NET_RAW"], drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...DEFAULTED,
  };
}

/**
 * The proxy as a native sidecar: started before every other container, and the app only once it is ready; stopped after
 * them, and no reason for a Job to go on.
 */
export function proxyContainer(settings: InjectionSettings, annotations: ProxyAnnotations, probes: ProbeTable): Json {
  return {
    name: SIDECAR.proxy,
    image: settings.image,
    imagePullPolicy: settings.imagePullPolicy,
    args: ["proxy"],
    restartPolicy: "Always",
    env: environment(settings, annotations, probes),
    ports: [{ name: "weft-admin", containerPort: PORTS.proxyAdmin, protocol: "TCP" }],
    resources: annotations.resources,
    startupProbe: probe("/readyz", 1, 1, STARTUP_FAILURES_MAX),
    readinessProbe: probe("/readyz", 10, 3, 3),
    // A proxy whose event loop stands still for a minute serves nobody; it takes up its state again at once.
    livenessProbe: probe("/livez", 10, 5, 6),
    securityContext: {
      runAsUser: PROXY_UID,
      runAsGroup: PROXY_UID,
      runAsNonRoot: true,
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
    volumeMounts: [
      { name: SIDECAR.stateVolume, mountPath: SIDECAR_PATHS.volume },
      { name: SIDECAR.tokenVolume, mountPath: SIDECAR_PATHS.tokenDir, readOnly: true },
    ],
    ...DEFAULTED,
  };
}

export function volumes(): Json[] {
  return [
    { name: SIDECAR.stateVolume, emptyDir: { medium: "Memory", sizeLimit: STATE_SIZE_MAX } },
    {
      name: SIDECAR.tokenVolume,
      projected: {
        sources: [{ serviceAccountToken: { audience: TOKEN_AUDIENCE, expirationSeconds: TOKEN_SECONDS, path: "token" } }],
        defaultMode: READABLE_BY_ALL,
      },
    },
  ];
}

function environment(settings: InjectionSettings, { logLevel }: ProxyAnnotations, probes: ProbeTable): Json[] {
  const field = (name: string, fieldPath: string): Json => ({ name, valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } } });
  return [
    field(SIDECAR_ENV.podName, "metadata.name"),
    field(SIDECAR_ENV.podNamespace, "metadata.namespace"),
    field(SIDECAR_ENV.podUid, "metadata.uid"),
    field(SIDECAR_ENV.podIp, "status.podIP"),
    field(SIDECAR_ENV.podIps, "status.podIPs"),
    field(SIDECAR_ENV.serviceAccount, "spec.serviceAccountName"),
    { name: SIDECAR_ENV.trustBundle, value: settings.trustBundlePem },
    // After the variables that it names: the kubelet knows only those before.
    { name: SIDECAR_ENV.bootstrap, value: bootstrapValue(settings, logLevel ?? settings.logLevel) },
    ...(Object.keys(probes).length === 0 ? [] : [{ name: SIDECAR_ENV.probes, value: literalJson(probes) }]),
  ];
}

function probe(path: string, periodSeconds: number, timeoutSeconds: number, failureThreshold: number): Json {
  return {
    httpGet: { path, port: PORTS.proxyAdmin, scheme: "HTTP" },
    periodSeconds,
    timeoutSeconds,
    failureThreshold,
    successThreshold: 1,
  };
}
