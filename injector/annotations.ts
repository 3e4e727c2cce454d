import type { Problem } from "#mesh/plan/problem.ts";
import type { LogLevel } from "#runtime/logger.ts";
import { record, text, type Json } from "./pod.ts";

/** What one pod may say of its own proxy. */
export interface ProxyAnnotations {
  readonly resources: Resources;
  readonly logLevel: LogLevel | null;
}

export interface Resources {
  readonly requests: Readonly<Record<string, string>>;
  readonly limits: Readonly<Record<string, string>>;
}

/**
 * Requests: what an idle proxy in a small mesh uses. The limit of memory holds the 32 MiB of buffers, the state volume
 * (memory, too) and Node itself with room. No limit of CPU: throttling a proxy slows every request of its app.
 */
const DEFAULTS = { requests: { cpu: "50m", memory: "64Mi" }, limits: { memory: "256Mi" } } as const;

const PREFIX = "weft.dev/proxy-";
const RESOURCES: Readonly<Record<string, readonly [keyof Resources, string]>> = {
  "weft.dev/proxy-cpu-request": ["requests", "cpu"],
  "weft.dev/proxy-cpu-limit": ["limits", "cpu"],
  "weft.dev/proxy-memory-request": ["requests", "memory"],
  "weft.dev/proxy-memory-limit": ["limits", "memory"],
};
const LOG_LEVEL = "weft.dev/proxy-log-level";
const LEVELS: readonly string[] = ["error", "warn", "info", "debug"];
/** A Kubernetes quantity above zero: decimal or binary unit, no exponent. */
const QUANTITY = /^(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;

/** Reads the annotations that begin with `weft.dev/proxy-`; one that is unknown or broken is a problem, not a default. */
export function readAnnotations(pod: Json): ProxyAnnotations & { readonly problems: readonly Problem[] } {
  const requests: Record<string, string> = { ...DEFAULTS.requests };
  const limits: Record<string, string> = { ...DEFAULTS.limits };
  let logLevel: LogLevel | null = null;
  const problems: Problem[] = [];
  for (const [key, value] of Object.entries(record(record(pod["metadata"])["annotations"]))) {
    if (!key.startsWith(PREFIX)) continue;
    const said = text(value);
    const resource = Object.hasOwn(RESOURCES, key) ? RESOURCES[key] : undefined;
    if (resource !== undefined && QUANTITY.test(said)) (resource[0] === "requests" ? requests : limits)[resource[1]] = said;
    else if (key === LOG_LEVEL && LEVELS.includes(said)) logLevel = said as LogLevel;
    else problems.push(broken(key, said, resource !== undefined));
  }
  return { resources: { requests, limits }, logLevel, problems };
}

function broken(key: string, value: string, isResource: boolean): Problem {
  const known = [...Object.keys(RESOURCES), LOG_LEVEL];
  const [message, remedy] = !known.includes(key)
    ? ["there is no such annotation", `take one of ${known.join(", ")}`]
    : isResource
      ? [`${JSON.stringify(value.slice(0, 64))} is no quantity above zero`, 'write it as Kubernetes does: "100m", "1", "64Mi"']
      : [`${JSON.stringify(value.slice(0, 64))} is no log level`, `take one of ${LEVELS.join(", ")}`];
  return { path: `metadata.annotations[${key.slice(0, 128)}]`, code: "WEFT_BAD_POD_SETTING", message, remedy };
}
