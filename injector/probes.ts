import { PORTS } from "#api/ports.ts";
import {
  PROBE_KINDS,
  type ProbeAction,
  type ProbeKind,
  probePath,
  type ProbeTable,
  type ProbeTarget,
  SIDECAR,
  SIDECAR_ENV,
} from "#api/sidecar.ts";
import { isOurs } from "./recognise.ts";
import { list, record, text, type Json } from "./pod.ts";

/**
 * Probes and lifecycle hooks. The kubelet is no workload of the mesh: under Strict its plaintext would be refused, and a
 * tcp probe would find the proxy listening where the app is not. So each is sent to the probe port instead, and the
 * proxy runs the written one against the app.
 */

const OWN_PORTS: readonly number[] = [PORTS.outboundCapture, PORTS.inboundCapture, PORTS.proxyAdmin, PORTS.probe];

/** Whether the proxy has that port in every meshed pod. */
export function isOwnPort(port: number): boolean {
  return OWN_PORTS.includes(port);
}

/** How long a probe may take when it does not say (Kubernetes' default). */
const TIMEOUT_SECONDS = 1;
const CONTAINER_NAME = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const FIELD: Readonly<Record<ProbeKind, readonly string[]>> = {
  liveness: ["livenessProbe"],
  readiness: ["readinessProbe"],
  startup: ["startupProbe"],
  postStart: ["lifecycle", "postStart"],
  preStop: ["lifecycle", "preStop"],
};

/** The probe or hook of that kind, and where it stands in its container; null when there is none. */
export function handlerOf(container: Json, kind: ProbeKind): { readonly handler: Json; readonly path: string } | null {
  let value: unknown = container;
  for (const field of FIELD[kind]) value = record(value)[field];
  return typeof value === "object" && value !== null ? { handler: record(value), path: FIELD[kind].join(".") } : null;
}

/** Whether the kubelet is sent to the probe port already. */
export function isRewritten(handler: Json, container: string, kind: ProbeKind): boolean {
  const { port, path, host } = record(handler["httpGet"]);
  return port === PORTS.probe && path === probePath(container, kind) && text(host) === "";
}

/** What an earlier injection has kept of the probes as they were written. */
export function writtenTable(pod: Json): ProbeTable {
  const sidecar = list(record(pod["spec"])["initContainers"])
    .map(record)
    .find((container) => container["name"] === SIDECAR.proxy && isOurs(container));
  const value = list(sidecar?.["env"])
    .map(record)
    .find((variable) => variable["name"] === SIDECAR_ENV.probes)?.["value"];
  try {
    return record(JSON.parse(text(value))) as ProbeTable;
  } catch {
    return {};
  }
}

/** Keys "<container>/<kind>" of the table that the pod carries and that hold something. */
export function knownTargets(pod: Json): ReadonlySet<string> {
  return new Set(
    Object.entries(writtenTable(pod))
      .filter(([, target]) => readTarget(target) !== null)
      .map(([key]) => key),
  );
}

/** The container with its probes sent to the probe port; adds to `table` what they were. */
export function rewriteProbes(container: Json, written: ProbeTable, table: Record<string, ProbeTarget>): Json {
  const name = text(container["name"]);
  // The API server refuses such a pod after us.
  if (!CONTAINER_NAME.test(name)) return container;
  let result = container;
  for (const kind of PROBE_KINDS) {
    const found = handlerOf(container, kind);
    if (found === null) continue;
    const key = `${name}/${kind}`;
    const isHook = kind === "postStart" || kind === "preStop";
    const limit = found.handler["timeoutSeconds"];
    const timeoutSeconds = isHook ? 0 : typeof limit === "number" && limit > 0 ? limit : TIMEOUT_SECONDS;
    const action = isRewritten(found.handler, name, kind)
      ? readTarget(Object.hasOwn(written, key) ? written[key] : undefined)
      : actionOf(found.handler, container);
    if (action === null) continue;
    table[key] = { ...action, timeoutSeconds };
    result = put(result, FIELD[kind], redirected(found.handler, name, kind));
  }
  return result;
}

/** Everything else of a probe (periods, thresholds) stays. Scheme is written out, as the API server would. */
function redirected(handler: Json, container: string, kind: ProbeKind): Json {
  const { httpGet: _http, tcpSocket: _tcp, grpc: _grpc, ...rest } = handler;
  return { ...rest, httpGet: { path: probePath(container, kind), port: PORTS.probe, scheme: "HTTP" } };
}

function put(container: Json, [field = "", inner]: readonly string[], value: Json): Json {
  return inner === undefined
    ? { ...container, [field]: value }
    : { ...container, [field]: { ...record(container[field]), [inner]: value } };
}

/**
 * What the kubelet would do; null for what does not go to the pod's own ports: exec, sleep, a host of its own, or a port
 * name that the container does not have (which the kubelet then reports as it always did).
 */
function actionOf(handler: Json, container: Json): ProbeAction | null {
  for (const type of ["httpGet", "tcpSocket", "grpc"] as const) {
    const action = record(handler[type]);
    const port = portNumber(action["port"], container);
    if (port === null || text(action["host"]) !== "") continue;
    if (type === "tcpSocket") return { type: "tcp", port };
    if (type === "grpc") return { type: "grpc", port, service: text(action["service"]) };
    const headers = list(action["httpHeaders"]).map((item) => ({ name: text(record(item)["name"]), value: text(record(item)["value"]) }));
    const path = text(action["path"]);
    return {
      type: "http",
      port,
      path: path === "" ? "/" : path.startsWith("/") ? path : `/${path}`,
      scheme: action["scheme"] === "HTTPS" ? "HTTPS" : "HTTP",
      headers,
    };
  }
  return null;
}

/** A port as the kubelet finds it: a number, a number as text, or the name of one of the container's ports; null for none. */
export function portNumber(port: unknown, container: Json): number | null {
  if (typeof port === "string" && port !== "") {
    const named = list(container["ports"])
      .map(record)
      .find(({ name }) => name === port);
    return portNumber(named?.["containerPort"] ?? (/^[0-9]+$/.test(port) ? Number(port) : null), {});
  }
  return typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65536 ? port : null;
}

/**
 * An entry of a table that somebody else may have written: only what has the shape comes back, rebuilt. None leads to
 * our own ports: the probe port asking itself would not end.
 */
function readTarget(value: unknown): ProbeAction | null {
  const { type, port, path, scheme, headers, service } = record(value);
  if (typeof port !== "number" || portNumber(port, {}) === null || isOwnPort(port)) return null;
  if (type === "tcp") return { type, port };
  if (type === "grpc") return { type, port, service: text(service) };
  if (type !== "http") return null;
  return {
    type,
    port,
    path: text(path).startsWith("/") ? text(path) : "/",
    scheme: scheme === "HTTPS" ? "HTTPS" : "HTTP",
    headers: list(headers).map((item) => ({ name: text(record(item)["name"]), value: text(record(item)["value"]) })),
  };
}
