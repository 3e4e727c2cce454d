import { PORTS } from "#api/ports.ts";
import { PROBE_KINDS, PROXY_UID, SIDECAR } from "#api/sidecar.ts";
import type { Problem } from "#mesh/plan/problem.ts";
import { readAnnotations } from "./annotations.ts";
import { containersOf, list, record, text, type ContainerAt, type Json } from "./pod.ts";
import { handlerOf, isOwnPort, isRewritten, knownTargets, portNumber } from "./probes.ts";
import { hasOurName, isOurs } from "./recognise.ts";

const OWN_VOLUMES: readonly string[] = [SIDECAR.stateVolume, SIDECAR.tokenVolume];
/** Any of these can take the redirect rules away, or send past them. */
const NETWORK_CAPABILITIES: readonly string[] = ["NET_ADMIN", "NET_RAW", "ALL"];
const LEAVE_OUT = "or leave the pod out of the mesh with label weft.dev/inject: disabled";

/**
 * Everything in a pod that would let it leave the mesh unseen, or that collides with the sidecar. Outbound capture is no
 * security boundary, so this list is of the obvious, not of all; what must hold is enforced inbound.
 */
export function bypasses(pod: Json): Problem[] {
  const spec = record(pod["spec"]);
  const podUser = record(spec["securityContext"])["runAsUser"];
  const targets = knownTargets(pod);
  const foreign = containersOf(pod).filter(({ path, container }) => !(path.startsWith("spec.initContainers") && isOurs(container)));
  return [
    ...readAnnotations(pod).problems,
    ...(podUser === PROXY_UID ? [proxyUser("spec.securityContext.runAsUser")] : []),
    ...foreign.flatMap((at) => [...names(at), ...user(at), ...capabilities(at), ...ports(at), ...probePorts(at, targets), ...mounts(at)]),
    ...volumes(spec, foreign),
  ];
}

function names({ name, path }: ContainerAt): Problem[] {
  return hasOurName(name) ? [reserved(`${path}.name`, `a container is called ${name}, as the sidecar's own is`)] : [];
}

function user({ path, container }: ContainerAt): Problem[] {
  const value = record(container["securityContext"])["runAsUser"];
  return value === PROXY_UID ? [proxyUser(`${path}.securityContext.runAsUser`)] : [];
}

function proxyUser(path: string): Problem {
  return {
    path,
    code: "WEFT_PROXY_UID",
    message: `user ${PROXY_UID} is the proxy's: what it sends is not captured`,
    remedy: `take another user id, ${LEAVE_OUT}`,
  };
}

function capabilities({ path, container }: ContainerAt): Problem[] {
  const context = record(container["securityContext"]);
  const found = list(record(context["capabilities"])["add"]).flatMap((value, i) => {
    // Runtimes take the name with and without its prefix, in any case.
    const name = text(value).toUpperCase().replace(/^CAP_/, "");
    return NETWORK_CAPABILITIES.includes(name) ? [capability(`${path}.securityContext.capabilities.add[${i}]`, `capability ${name}`)] : [];
  });
  return context["privileged"] === true ? [...found, capability(`${path}.securityContext.privileged`, "a privileged container")] : found;
}

function capability(path: string, what: string): Problem {
  return {
    path,
    code: "WEFT_NETWORK_CAPABILITY",
    message: `${what} can take away the rules that bring the pod's traffic to the proxy`,
    remedy: `remove it, ${LEAVE_OUT}`,
  };
}

function ports({ path, container }: ContainerAt): Problem[] {
  return list(container["ports"]).flatMap((item, i) => {
    const { containerPort } = record(item);
    return typeof containerPort === "number" && isOwnPort(containerPort)
      ? [portTaken(`${path}.ports[${i}].containerPort`, containerPort)]
      : [];
  });
}

/** A probe to one of our ports, unless it is one that we have put there. */
function probePorts({ name, path, container }: ContainerAt, targets: ReadonlySet<string>): Problem[] {
  return PROBE_KINDS.flatMap((kind) => {
    const found = handlerOf(container, kind);
    if (found === null || (isRewritten(found.handler, name, kind) && targets.has(`${name}/${kind}`))) return [];
    return (["httpGet", "tcpSocket", "grpc"] as const).flatMap((type) => {
      const action = record(found.handler[type]);
      const port = portNumber(action["port"], container);
      return port !== null && isOwnPort(port) && text(action["host"]) === "" ? [portTaken(`${path}.${found.path}.${type}.port`, port)] : [];
    });
  });
}

function portTaken(path: string, port: number): Problem {
  return {
    path,
    code: "WEFT_RESERVED_PORT",
    message: `port ${port} is the proxy's own in every meshed pod`,
    remedy: `have the app use a port other than ${PORTS.outboundCapture} to ${PORTS.probe}, ${LEAVE_OUT}`,
  };
}

function mounts({ path, container }: ContainerAt): Problem[] {
  return list(container["volumeMounts"]).flatMap((item, i) => {
    const name = text(record(item)["name"]);
    return OWN_VOLUMES.includes(name)
      ? [reserved(`${path}.volumeMounts[${i}].name`, `volume ${name} holds the proxy's key and token and is for the proxy alone`)]
      : [];
  });
}

/** In a pod that we have injected the volumes are ours (and written anew); in any other they are somebody else's. */
function volumes(spec: Json, foreign: readonly ContainerAt[]): Problem[] {
  const injected = list(spec["initContainers"]).length > foreign.filter(({ path }) => path.startsWith("spec.initContainers")).length;
  if (injected) return [];
  return list(spec["volumes"]).flatMap((item, i) => {
    const name = text(record(item)["name"]);
    return OWN_VOLUMES.includes(name) ? [reserved(`spec.volumes[${i}].name`, `a volume is called ${name}, as the sidecar's own is`)] : [];
  });
}

function reserved(path: string, message: string): Problem {
  return { path, code: "WEFT_RESERVED_NAME", message, remedy: `take another name, ${LEAVE_OUT}` };
}
