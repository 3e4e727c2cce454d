import { execFileSync, spawnSync } from "node:child_process";
import os from "node:os";
import { VERSION } from "#api/version.ts";
import { findProgram } from "#standalone/programs.ts";
import { ENVOY_VERSION } from "./install.ts";
import { ROOT, SEARCH_PATH } from "./processes.ts";

/** Where the figures are from; figures of two environments do not stand in one table. */
export interface Environment {
  readonly weft: string;
  readonly node: string;
  readonly kernel: string;
  readonly cores: number;
  readonly processor: string;
  readonly envoy: string | null;
  readonly haproxy: string | null;
  readonly nginx: string | null;
  readonly h2load: string | null;
  /** Of the minute before the measurement: above 1, others disturbed it. */
  readonly loadAverage: number;
}

export function readEnvironment(hasEnvoy: boolean, loadAverage: number): Environment {
  return {
    weft: `${VERSION}${commit()}`,
    node: process.versions.node,
    kernel: os.release(),
    cores: os.availableParallelism(),
    processor: os.cpus()[0]?.model.trim() ?? "unknown",
    envoy: hasEnvoy ? ENVOY_VERSION : null,
    haproxy: version("haproxy", "-v", /version (\S+)/),
    nginx: version("nginx", "-v", /nginx\/(\S+)/),
    h2load: version("h2load", "--version", /nghttp2\/(\S+)/),
    loadAverage,
  };
}

/** " (abc1234)" of the checkout; nothing outside of one. */
function commit(): string {
  try {
    return ` (${execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()})`;
  } catch {
    return "";
  }
}

function version(program: string, flag: string, pattern: RegExp): string | null {
  const file = findProgram(program, ".", SEARCH_PATH);
  if (file === null) return null;
  // nginx writes it to stderr.
  const { stdout, stderr } = spawnSync(file, [flag], { encoding: "utf8" });
  return pattern.exec(`${stdout}${stderr}`)?.[1] ?? "unknown";
}
