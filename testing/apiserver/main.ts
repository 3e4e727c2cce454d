import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { apiServerBinary, etcdBinary, MissingTool } from "./binaries.ts";
import { helmBinary } from "./helm.ts";

/**
 * `make test-apiserver`: gets etcd, kube-apiserver and helm, then runs every `*.apiserver.test.ts`, each of which starts a server of
 * its own. ONLY=<regex> picks files by path. Ends with jest's code, or 1 when something is missing.
 */

const ROOT = path.resolve(import.meta.dirname, "../..");
/** All suites together, milliseconds. */
const JEST_MS_MAX = 10 * 60_000;

process.exitCode = await main();

async function main(): Promise<number> {
  try {
    await etcdBinary(console.log);
    await apiServerBinary(console.log);
    for (const major of [3, 4] as const) await helmBinary(major, console.log);
  } catch (error) {
    console.error(error instanceof MissingTool ? error.message : error);
    return 1;
  }
  // Of its own, so that a suite that is interrupted leaves nothing behind.
  const folder = mkdtempSync(path.join(os.tmpdir(), "weft-test-apiserver-"));
  try {
    return await jest(process.env["ONLY"] ?? "", folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function jest(only: string, folder: string): Promise<number> {
  const args = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js"];
  // One after the other: each has a server, and nothing is won by two on a small machine.
  args.push("--config", "testing/apiserver/jest.config.js", "--runInBand", ...(only === "" ? [] : ["--testPathPatterns", only]));
  return new Promise((resolve) => {
    const child = spawn("node", args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, TMPDIR: folder } });
    // A Ctrl-C reaches jest as well; its servers end with the pipes and signals that it passes on.
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, pass);
    const timer = setTimeout(() => child.kill("SIGKILL"), JEST_MS_MAX);
    child.once("error", () => resolve(127));
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve(code ?? 128);
    });
  });
}
