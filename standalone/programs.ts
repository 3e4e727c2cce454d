import fs from "node:fs";
import path from "node:path";
import type { Command } from "./kept-process.ts";

/** How each process of a run is started. */
export interface Programs {
  operator(state: string, address: string): Command;
  proxy(bootstrapPath: string): Command;
  /** An app, through the launcher that ties its life to the runner's. `argv[0]` is how it was called. */
  app(file: string, argv: readonly string[], env: Readonly<Record<string, string>>, cwd: string): Command;
}

export interface ProgramFiles {
  /** The pinned Node. */
  readonly node: string;
  /** Script of the command line: dist/weft.js or cli/main.ts. */
  readonly weft: string;
  /** Script of the sidecar: dist/proxy.js or cli/proxy-main.ts. */
  readonly proxy: string;
  /** bin/launch.js. */
  readonly launch: string;
  readonly cwd: string;
}

/** `node:ffi` is experimental in the pinned Node; its warning is no news to the user. */
export const NODE_FLAGS: readonly string[] = ["--disable-warning=ExperimentalWarning"];
/**
 * Of sidecars besides. Each flag here was measured: memory gained, and no CPU per request lost. A request's objects die within
 * microseconds, so a young generation of 1 MiB is enough, and what is old is configuration, which does not grow: the heap
 * may grow by a tenth before it is collected. With ten of 1000 Services in use 102 MiB RSS instead of 151.
 * (--optimize-for-size gives 93, at a fifth more CPU per request.)
 */
export const PROXY_NODE_FLAGS: readonly string[] = ["--max-semi-space-size=1", "--heap-growing-percent=10"];
/**
 * Of sidecars. glibc gives each thread an arena of its own and hands freed memory of one to no other; two are enough for
 * a process whose work is done by one thread.
 */
const PROXY_ENVIRONMENT = { MALLOC_ARENA_MAX: "2" } as const;

export function programs(files: ProgramFiles, runId: string, runnerPid: number, path: string): Programs {
  const own = { PATH: path, WEFT_RUN_ID: runId, WEFT_PARENT_PID: String(runnerPid) };
  return {
    operator: (state, address) => ({
      file: files.node,
      args: [...NODE_FLAGS, files.weft, "operator", "--standalone", "--state", state, "--address", address],
      env: own,
      cwd: files.cwd,
    }),
    proxy: (bootstrapPath) => ({
      file: files.node,
      args: [...NODE_FLAGS, ...PROXY_NODE_FLAGS, files.proxy, "proxy", "--bootstrap", bootstrapPath],
      env: { ...own, ...PROXY_ENVIRONMENT },
      cwd: files.cwd,
    }),
    app: (file, argv, env, cwd) => {
      const { NODE_OPTIONS, ...rest } = env;
      const marked: Record<string, string> = { ...rest, WEFT_RUN_ID: runId };
      if (NODE_OPTIONS !== undefined) marked["WEFT_APP_NODE_OPTIONS"] = NODE_OPTIONS;
      return { file: files.node, args: [...NODE_FLAGS, files.launch, String(runnerPid), file, ...argv], env: marked, cwd };
    },
  };
}

/** The absolute path of a program as a shell would find it; null when there is none that may be run. */
export function findProgram(program: string, cwd: string, searchPath: string): string | null {
  const candidates = program.includes("/")
    ? [path.resolve(cwd, program)]
    : searchPath.split(":").map((folder) => path.resolve(cwd, folder, program));
  for (const candidate of candidates) {
    try {
      fs.accessSync(candidate, fs.constants.X_OK);
      if (fs.statSync(candidate).isFile()) return candidate;
    } catch {
      // Not this one.
    }
  }
  return null;
}
