import fs from "node:fs";
import { spawn } from "node:child_process";

/** Processes that carry `marker` in their command line, environment or working folder; only those we may look at. */
export function processesWith(marker: string): { readonly pid: number; readonly command: string }[] {
  const found: { pid: number; command: string }[] = [];
  for (const entry of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    const command = read(`/proc/${entry}/cmdline`).replaceAll("\0", " ").trim();
    const texts = [command, read(`/proc/${entry}/environ`), link(`/proc/${entry}/cwd`)];
    if (texts.some((t) => t.includes(marker)) && !isZombie(entry)) found.push({ pid: Number(entry), command });
  }
  return found;
}

/** Bytes of anonymous memory of a process; null when it is gone. */
export function rssAnonBytes(pid: number): number | null {
  const kib = /^RssAnon:\s+(\d+) kB$/m.exec(read(`/proc/${pid}/status`))?.[1];
  return kib === undefined ? null : Number(kib) * 1024;
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, at most `withinMs`. */
export function execute(file: string, args: readonly string[], input = "", withinMs = 30_000, cwd?: string): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...args], { stdio: ["pipe", "pipe", "pipe"], ...(cwd === undefined ? {} : { cwd }) });
    let stdout = "";
    let stderr = "";
    const timer = setTimeout(() => child.kill("SIGKILL"), withinMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdin.on("error", () => {});
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
    child.stdin.end(input);
  });
}

function isZombie(entry: string): boolean {
  const stat = read(`/proc/${entry}/stat`);
  return stat === "" || /^\S+ \(.*\) Z /s.test(stat);
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    return "";
  }
}

function link(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return "";
  }
}
