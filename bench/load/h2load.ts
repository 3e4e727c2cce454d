import type { Target } from "../peers/target.ts";
import type { Processes } from "../processes.ts";
import type { LoadResult } from "./load.ts";

/** A cell may take so long; what takes longer failed. */
const CELL_MS = 20_000;

/** GET / over HTTP/1.1 on `connections` kept-alive connections, one request at a time each. Rejects unless every answer was a 2xx. */
export async function h2load(
  processes: Processes,
  target: Target,
  requests: number,
  connections: number,
  authority?: string,
): Promise<LoadResult> {
  // The header that the tenth route of bench/mesh matches; every peer gets it.
  const headers = ["-H", "x-tenant: ten", ...(authority === undefined ? [] : ["-H", `:authority: ${authority}`])];
  const args = ["--h1", "-n", String(requests), "-c", String(connections), "-t", "1", ...headers, `http://${target.host}:${target.port}/`];
  const text = await processes.finish({ name: "h2load", program: "h2load", args }, CELL_MS);
  return readH2load(text, requests);
}

/** Bytes of every answer's body: bench/mesh/web.sh. */
const BODY_BYTES = 1024;

/**
 * h2load's own summary. Throws when not every request was answered with a 2xx. It counts no status of an answer without a
 * reason phrase, which HTTP/1.1 allows (RFC 9112 §4) and HAProxy sends for HTTP/2 upstreams; there the bodies must be whole.
 */
export function readH2load(text: string, requests: number): LoadResult {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  const done = number(/(\d+) done/);
  const good = number(/status codes: (\d+) 2xx/);
  const bad = number(/(\d+) errored/) + number(/(\d+) timeout/) + number(/(\d+) 3xx/) + number(/(\d+) 4xx/) + number(/(\d+) 5xx/);
  const wholeBodies = good === 0 && number(/\((\d+)\) data/) === requests * BODY_BYTES;
  if (done !== requests || bad > 0 || !(good === requests || wholeBodies)) {
    throw new Error(
      `only ${good} of ${requests} requests were answered with a 2xx:\n    ${text.trim().split("\n").slice(-8).join("\n    ")}`,
    );
  }
  const [, value = "", unit = ""] = /finished in ([\d.]+)(us|ms|s)\b/.exec(text) ?? [];
  return { done, seconds: Number(value) * ({ us: 1e-6, ms: 1e-3, s: 1 }[unit] ?? Number.NaN) };
}
