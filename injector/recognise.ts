import { SIDECAR, SIDECAR_ENV } from "#api/sidecar.ts";
import { list, record, type Json } from "./pod.ts";

/**
 * Whether an init container is one that an injector made, of this or another version. It is no proof of good intent: what
 * is recognised is not believed but written anew, so that a forged sidecar becomes a real one.
 */
export function isOurs(container: Json): boolean {
  const verb = list(container["args"])[0];
  if (container["name"] === SIDECAR.init) return verb === "proxy-init" && container["restartPolicy"] === undefined;
  const told = list(container["env"]).some((variable) => record(variable)["name"] === SIDECAR_ENV.bootstrap);
  return container["name"] === SIDECAR.proxy && verb === "proxy" && container["restartPolicy"] === "Always" && told;
}

export function hasOurName(name: string): boolean {
  return name === SIDECAR.init || name === SIDECAR.proxy;
}

/** Whether the pod carries the sidecar where it must stand: before every other container. */
export function isMeshed(pod: Json): boolean {
  const [init, proxy] = list(record(pod["spec"])["initContainers"]).map(record);
  return init?.["name"] === SIDECAR.init && proxy?.["name"] === SIDECAR.proxy && isOurs(init) && isOurs(proxy);
}
