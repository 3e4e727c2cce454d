import fs from "node:fs";
import path from "node:path";
import { PARTS, type ProfileShare } from "./features.ts";
import { pause, ROOT } from "./processes.ts";

/**
 * Where a sidecar's CPU time goes, by Node's own sampling profiler. Any Node program opens its inspector on SIGUSR1;
 * the sidecar has no part in it. Metrics cannot be switched off, so this is how their cost is seen.
 */

const INSPECTOR = "http://127.0.0.1:9229";
const SAMPLE_US = 200;
const OPEN_MS = 5_000;

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** µs between a sample and the one before. */
  readonly timeDeltas: readonly number[];
}

/** Profiles the process while `work` runs. Rejects when its inspector does not open. */
export async function profile(pid: number, work: () => Promise<unknown>): Promise<CpuProfile> {
  process.kill(pid, "SIGUSR1");
  const socket = await connect();
  let id = 0;
  const waiting = new Map<number, (result: unknown) => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id: answered, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
    if (answered !== undefined) waiting.get(answered)?.(result);
  });
  const call = (method: string, params = {}): Promise<unknown> =>
    new Promise((resolve) => {
      waiting.set(++id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
  try {
    await call("Profiler.enable");
    await call("Profiler.setSamplingInterval", { interval: SAMPLE_US });
    await call("Profiler.start");
    await work();
    return ((await call("Profiler.stop")) as { profile: CpuProfile }).profile;
  } finally {
    socket.close();
  }
}

async function connect(): Promise<WebSocket> {
  const deadline = performance.now() + OPEN_MS;
  for (;;) {
    try {
      const [target] = (await (await fetch(`${INSPECTOR}/json/list`)).json()) as { webSocketDebuggerUrl: string }[];
      if (target === undefined) throw new Error("the inspector offers no target");
      const socket = new WebSocket(target.webSocketDebuggerUrl);
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve);
        socket.addEventListener("error", () => reject(new Error("the inspector does not answer")));
      });
      return socket;
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(50);
    }
  }
}

/** Parts of the sidecar by the folder that their source lies in; the first that matches. */
const FOLDERS: readonly (readonly [RegExp, string])[] = [
  [/^proxy\/telemetry\//, PARTS.metrics],
  [/^proxy\/protocol\/http1\//, PARTS.codec],
  [/^proxy\/protocol\//, "frames and HPACK"],
  [/^(mesh\/decide|proxy\/(policy|balance|resilience))\//, PARTS.policy],
  [/^proxy\/stack\//, "the exchange"],
  [/^proxy\/shell\//, "pools and connections"],
  [/^(proxy|runtime|api|ca|cli|node_modules)\//, "other parts of the sidecar"],
];

/** First line of each module in the bundle, in order: esbuild writes `// path` before it. */
export function modulesOf(bundle: string): readonly { readonly line: number; readonly file: string }[] {
  return bundle.split("\n").flatMap((text, line) => {
    const file = /^\s*\/\/ ((?:[\w@.-]+\/)+[\w.-]+\.[cm]?[tj]s)$/.exec(text)?.[1];
    return file === undefined ? [] : [{ line, file }];
  });
}

/** Shares of the time in which the process was not idle. They add up to 1. */
export function sharesOf({ nodes, samples, timeDeltas }: CpuProfile, modules: ReturnType<typeof modulesOf>): ProfileShare[] {
  const parts = new Map(nodes.map((node) => [node.id, partOf(node.callFrame, modules)]));
  const sums = new Map<string, number>();
  let total = 0;
  for (const [i, sample] of samples.entries()) {
    const part = parts.get(sample);
    if (part === undefined || part === null) continue;
    const us = Math.max(0, timeDeltas[i] ?? 0);
    sums.set(part, (sums.get(part) ?? 0) + us);
    total += us;
  }
  return [...sums].map(([part, us]) => ({ part, share: us / total })).sort((a, b) => b.share - a.share);
}

/** Null: the process was idle. */
function partOf(
  { functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"],
  modules: ReturnType<typeof modulesOf>,
): string | null {
  if (functionName === "(idle)" || functionName === "(root)") return null;
  if (functionName === "(garbage collector)") return "garbage collection";
  if (url.startsWith("node:")) return "Node's own sockets, streams and TLS, in JavaScript";
  // Native code: what it was called from is a leaf of its own without a place in any source.
  if (url === "") return "Node's and the kernel's native code: sockets, TLS, buffers";
  const file = modules.findLast((module) => module.line <= lineNumber)?.file ?? "";
  return FOLDERS.find(([pattern]) => pattern.test(file))?.[1] ?? "other parts of the sidecar";
}

/** The modules of the bundle that `weft proxy` runs. */
export function sidecarModules(): ReturnType<typeof modulesOf> {
  return modulesOf(fs.readFileSync(path.join(ROOT, "dist/proxy.js"), "utf8"));
}
