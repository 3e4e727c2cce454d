import { type ChildProcess, spawn } from "node:child_process";
import type { Clock } from "#api/clock.ts";
import { Backoff } from "./backoff.ts";

export interface Command {
  /** Absolute path of the program. */
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

export interface KeptProcessEvents {
  onStart(pid: number): void;
  onOutput(chunk: Buffer): void;
  /** It ended though nobody asked. `how`: "exit code 1", "signal SIGKILL" or why it could not start. */
  onCrash(how: string, restartInMs: number): void;
}

/**
 * A process that is started again when it dies, with backoff, until `stop`. It leads a session of its own: the
 * terminal's Ctrl-C reaches the runner only, which stops things in order, and its whole group can be killed.
 */
export class KeptProcess {
  private child: ChildProcess | null = null;
  private ended: Promise<void> = Promise.resolve();
  private wanted = false;
  private startedMs = 0;
  private cancelRestart: (() => void) | null = null;
  private readonly backoff = new Backoff();
  private readonly command: () => Command;
  private readonly clock: Clock;
  private readonly events: KeptProcessEvents;
  /** Starts after the first. */
  restarts = 0;

  /** `command` is asked at each start. */
  constructor(command: () => Command, clock: Clock, events: KeptProcessEvents) {
    this.command = command;
    this.clock = clock;
    this.events = events;
  }

  /** A program that cannot be started is not running, not even until that is known. */
  get running(): boolean {
    return this.child?.pid !== undefined;
  }

  get pid(): number | null {
    return this.child?.pid ?? null;
  }

  start(): void {
    if (this.wanted) return;
    this.wanted = true;
    this.backoff.reset();
    this.spawn();
  }

  /** SIGTERM to the group, SIGKILL after `graceMs`; resolves when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    this.wanted = false;
    this.cancelRestart?.();
    this.cancelRestart = null;
    const child = this.child;
    if (child === null) return;
    this.signal("SIGTERM");
    const cancel = this.clock.after(graceMs, () => this.signal("SIGKILL"));
    await this.ended;
    cancel();
  }

  /** At once, without waiting. */
  kill(): void {
    this.wanted = false;
    this.cancelRestart?.();
    this.cancelRestart = null;
    this.signal("SIGKILL");
  }

  private signal(signal: NodeJS.Signals): void {
    const pid = this.child?.pid;
    if (pid !== undefined) killGroup(pid, signal);
  }

  private spawn(): void {
    const { file, args, env, cwd } = this.command();
    this.startedMs = this.clock.monotonicMs();
    let child: ChildProcess;
    try {
      child = spawn(file, [...args], { cwd, env: { ...env }, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    } catch (error) {
      // An argument with a NUL byte, or a list too long: as good as a program that fails at once.
      this.crashed(String(error));
      return;
    }
    this.child = child;
    this.ended = new Promise((resolve) => {
      const over = (how: string): void => {
        if (this.child !== child) return;
        this.child = null;
        // What it left behind in its group would hold its ports.
        if (child.pid !== undefined) killGroup(child.pid, "SIGKILL");
        resolve();
        if (this.wanted) this.crashed(how);
      };
      child.once("error", (error) => over(error.message));
      child.once("exit", (code, signal) => over(signal === null ? `exit code ${code}` : `signal ${signal}`));
    });
    child.stdout?.on("data", (chunk: Buffer) => this.events.onOutput(chunk));
    child.stderr?.on("data", (chunk: Buffer) => this.events.onOutput(chunk));
    child.stdout?.on("error", () => {});
    child.stderr?.on("error", () => {});
    if (child.pid !== undefined) this.events.onStart(child.pid);
  }

  private crashed(how: string): void {
    const waitMs = this.backoff.afterLifeOf(this.clock.monotonicMs() - this.startedMs);
    this.cancelRestart = this.clock.after(waitMs, () => {
      this.cancelRestart = null;
      this.restarts++;
      this.spawn();
    });
    this.events.onCrash(how, waitMs);
  }
}

/** Signals a whole process group; one that is gone is no error. */
export function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: nobody is left.
  }
}
