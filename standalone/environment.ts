import type { Container, Service } from "#api/resources/kube.ts";
import { isTcp, reachablePort } from "./ports.ts";

/** A Service as one pod reaches it: its own listener of that pod. */
export interface Upstream {
  readonly service: Service;
  readonly address: string;
}

export interface AppFacts {
  readonly pod: string;
  readonly namespace: string;
  readonly appAddress: string;
  readonly upstreams: readonly Upstream[];
}

export type Environment = Readonly<Record<string, string>>;

/**
 * What a container is told. Below: what the runner was started with, without Weft's and npm's own variables;
 * above it HOST, PORT and the Services as Kubernetes names them; the manifest's own `env` wins over all.
 */
export function containerEnvironment(container: Container, facts: AppFacts, inherited: Environment): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(inherited)) {
    if (!/^(WEFT_|npm_)/.test(name) && name !== "PORT" && name !== "NODE_OPTIONS") env[name] = value;
  }
  for (const { service, address } of facts.upstreams) Object.assign(env, serviceVariables(service, address));
  env["HOST"] = facts.appAddress;
  const first = (container.ports ?? []).find(isTcp);
  if (first !== undefined) env["PORT"] = String(reachablePort(first.containerPort));
  env["POD_NAME"] = facts.pod;
  env["POD_NAMESPACE"] = facts.namespace;
  for (const { name, value } of container.env ?? []) {
    if (value !== undefined) env[name] = expand(value, env);
  }
  return env;
}

/** REVIEWS_SERVICE_HOST, REVIEWS_SERVICE_PORT (the first port) and REVIEWS_SERVICE_PORT_HTTP for each named one. */
export function serviceVariables(service: Service, address: string): Record<string, string> {
  const prefix = variableName(service.metadata.name);
  const ports = (service.spec.ports ?? []).filter(isTcp);
  const [first] = ports;
  if (first === undefined) return {};
  const env: Record<string, string> = {
    [`${prefix}_SERVICE_HOST`]: address,
    [`${prefix}_SERVICE_PORT`]: String(reachablePort(first.port)),
  };
  for (const p of ports)
    if (p.name !== undefined && p.name !== "") env[`${prefix}_SERVICE_PORT_${variableName(p.name)}`] = String(reachablePort(p.port));
  return env;
}

function variableName(name: string): string {
  return name.toUpperCase().replace(/[-.]/g, "_");
}

/** `$(NAME)` as Kubernetes replaces it in command, args and env; an unknown one stays, `$$(NAME)` is a literal. */
export function expand(text: string, env: Environment): string {
  return text.replace(/\$\$|\$\(([A-Za-z0-9_.-]+)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return "$";
    return Object.hasOwn(env, name) ? env[name]! : whole;
  });
}
