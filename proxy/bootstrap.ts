import type { ProxyBootstrap } from "#api/bootstrap.ts";
import { isTrustDomain } from "#api/spiffe.ts";

type Check = (value: unknown, path: string) => string | null;

const text: Check = (v, path) => (typeof v === "string" && v !== "" ? null : `${path} must be a text`);
const port: Check = (v, path) =>
  typeof v === "number" && Number.isInteger(v) && v > 0 && v < 65536 ? null : `${path} must be a port, 1 to 65535`;
const trustDomain: Check = (v, path) =>
  typeof v === "string" && isTrustDomain(v) ? null : `${path} must be a trust domain: a-z 0-9 . _ -, at most 100 bytes`;
const level: Check = (v, path) =>
  ["error", "warn", "info", "debug"].includes(v as string) ? null : `${path} must be error, warn, info or debug`;

function object(fields: Record<string, Check>): Check {
  return (v, path) => {
    if (typeof v !== "object" || v === null || Array.isArray(v)) return `${path} must be an object`;
    for (const [name, check] of Object.entries(fields)) {
      const problem = check((v as Record<string, unknown>)[name], path === "" ? name : `${path}.${name}`);
      if (problem !== null) return problem;
    }
    return null;
  };
}

function list(check: Check): Check {
  return (v, path) => {
    if (!Array.isArray(v)) return `${path} must be a list`;
    for (const [i, item] of v.entries()) {
      const problem = check(item, `${path}[${i}]`);
      if (problem !== null) return problem;
    }
    return null;
  };
}

const SHAPE = object({
  workload: object({ namespace: text, pod: text, serviceAccount: text }),
  trustDomain,
  controlPlane: object({ address: text, bundlePath: text }),
  tokenPath: text,
  stateDir: text,
  podAddress: text,
  appAddress: text,
  inbound: list(object({ port, appPort: port })),
  outbound: list(object({ address: text, port, service: object({ namespace: text, name: text, port }) })),
  adminPort: port,
  adminSocket: text,
  logLevel: level,
});

/** Reads the bootstrap file's text; a text that starts with the field's path when it is not one. */
export function parseBootstrap(json: string): ProxyBootstrap | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return { problem: `not JSON: ${(error as Error).message}` };
  }
  const problem = SHAPE(value, "");
  return problem === null ? (value as ProxyBootstrap) : { problem };
}
