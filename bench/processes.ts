import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram } from "#standalone/programs.ts";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const LAUNCH = path.join(ROOT, "bin/launch.js");
/** From the wish to end to SIGKILL, milliseconds. `weft run` ends its own processes first. */
const GRACE_MS = 4000;
const READY_MS = 15_000;

/** Debian keeps servers where an ordinary user's PATH does not look. */
export const SEARCH_PATH = `${path.dirname(process.execPath)}:${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin`;

export interface Start {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** One process that the benchmark started. Its output goes to a file of the work folder. */
export class Running {
  readonly pid: number;
  readonly name: string;
  readonly log: string;
  readonly ended: Promise<string>;
  over: string | null = null;
  private readonly child: ChildProcess;

  constructor(child: ChildProcess, name: string, log: string) {
    this.child = child;
    this.name = name;
    this.log = log;
    this.pid = child.pid ?? 0;
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.over ??= how;
        resolve(this.over);
      };
      child.once("error", (error) => end(error.message));
      child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  /** The last lines it wrote, for a message about its end. */
  tail(): string {
    return fs.readFileSync(this.log, "utf8").trim().split("\n").slice(-8).join("\n    ");
  }

  async stop(): Promise<void> {
    if (this.over !== null) return;
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), GRACE_MS);
    await this.ended;
    clearTimeout(timer);
  }
}

/** Every process that the benchmark started and has not yet ended. */
export class Processes {
  readonly folder: string;
  private readonly all = new Set<Running>();
  private readonly kept = new Set<Running>();
  private count = 0;
  /** The benchmark is being ended: what fails from now on failed because of that. */
  closed = false;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Starts a program that the kernel kills when this process dies. Its pid is the program's own. Throws when there is no such program. */
  start({ name, program, args, env = {}, cwd = this.folder }: Start): Running {
    if (this.closed) throw new Error("interrupted");
    const file = findProgram(program, cwd, SEARCH_PATH);
    if (file === null) throw new Error(`there is no program ${program}`);
    const log = path.join(this.folder, `${this.count++}-${name}.log`);
    const output = fs.openSync(log, "w");
    const launch = ["--disable-warning=ExperimentalWarning", LAUNCH, String(process.pid), file, program, ...args];
    const child = spawn(process.execPath, launch, {
      cwd,
      env: { ...process.env, PATH: SEARCH_PATH, TMPDIR: this.folder, ...env },
      // A group of its own: Ctrl-C in a terminal reaches this process alone, which then ends the others in order.
      detached: true,
      stdio: ["ignore", output, output],
    });
    fs.closeSync(output);
    const running = new Running(child, name, log);
    this.all.add(running);
    void running.ended.then(() => this.all.delete(running));
    return running;
  }

  /** Runs a program to its end and gives its output. Rejects when it fails, or takes longer than `timeoutMs`. */
  async finish(start: Start, timeoutMs: number): Promise<string> {
    const running = this.start(start);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      void running.stop();
    }, timeoutMs);
    const how = await running.ended;
    clearTimeout(timer);
    if (this.closed) throw new Error("interrupted");
    if (late) throw new Error(`${start.name} took longer than ${timeoutMs / 1000} s`);
    if (how !== "exit code 0") throw new Error(`${start.name} ended with ${how}:\n    ${running.tail()}`);
    const text = fs.readFileSync(running.log, "utf8");
    fs.rmSync(running.log, { force: true });
    return text;
  }

  /** Ends all, each by its own pid, but those that were marked to stay. */
  async stopAll(): Promise<void> {
    await Promise.all([...this.all].filter((running) => !this.kept.has(running)).map((running) => running.stop()));
  }

  /** The process stays until `close`. */
  keep(running: Running): Running {
    this.kept.add(running);
    return running;
  }

  /** Ends all. Nothing can be started afterwards. */
  async close(): Promise<void> {
    this.closed = true;
    this.kept.clear();
    await this.stopAll();
  }
}

/** Waits until something listens; rejects when `running` ends before, or after 15 s. */
export async function listens(running: Running, host: string, port: number): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!(await accepts(host, port))) {
    if (running.over !== null) throw new Error(`${running.name} ended with ${running.over}:\n    ${running.tail()}`);
    if (performance.now() > deadline) throw new Error(`${running.name} does not listen on ${host}:${port}:\n    ${running.tail()}`);
    await pause(50);
  }
}

export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A port of 127.0.0.1 that is free now, below the range from which the kernel takes ports of clients. */
export async function freePort(): Promise<number> {
  for (let port = 20_000 + (process.pid % 500) * 10; port < 32_000; port++) {
    if (!taken.has(port) && (await bindable(port))) {
      taken.add(port);
      return port;
    }
  }
  throw new Error("no free port between 20000 and 32000");
}

const taken = new Set<number>();

export function bindable(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
