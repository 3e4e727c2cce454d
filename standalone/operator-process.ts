import fs from "node:fs";
import path from "node:path";
import type { Clock } from "#api/clock.ts";
import { PORTS } from "#api/ports.ts";
import type { Report } from "./events.ts";
import { KeptProcess } from "./kept-process.ts";
import { LogFile } from "./log-file.ts";
import { errorLines } from "./pod.ts";
import { answersOk, Probe } from "./probe.ts";
import type { Programs } from "./programs.ts";

const GRACE_MS = 5000;

/** The operator as a process of the run. Its state, with the CA's key, outlives it. */
export class OperatorProcess {
  readonly address: string;
  private readonly process: KeptProcess;
  private readonly probe: Probe;
  private readonly log: LogFile;
  private readonly waiting = new Set<() => void>();
  held = false;

  constructor(state: string, address: string, programs: Programs, clock: Clock, report: Report) {
    this.address = address;
    const logPath = path.join(state, "logs", "operator.log");
    fs.mkdirSync(path.dirname(logPath), { recursive: true, mode: 0o700 });
    this.log = new LogFile(logPath);
    let startedMs = clock.monotonicMs();
    this.probe = new Probe(
      () => answersOk(address, PORTS.operatorAdmin, "/readyz"),
      clock,
      (well) => {
        if (!well) return;
        report({ type: "operator-ready", address, afterMs: clock.monotonicMs() - startedMs });
        for (const done of this.waiting) done();
        this.waiting.clear();
      },
    );
    this.process = new KeptProcess(() => programs.operator(state, address), clock, {
      onStart: () => {
        startedMs = clock.monotonicMs();
        this.probe.restart();
      },
      onOutput: (chunk) => {
        this.log.write(chunk);
        for (const message of errorLines(chunk)) report({ type: "logged", process: "operator", message });
      },
      onCrash: (how, restartInMs) => {
        this.probe.stop();
        report({ type: "crashed", process: "operator", how, restartInMs, tail: this.log.tail(5), log: logPath });
      },
    });
  }

  get ready(): boolean {
    return this.probe.well;
  }

  get pid(): number | null {
    return this.process.pid;
  }

  get restarts(): number {
    return this.process.restarts;
  }

  start(): void {
    this.held = false;
    this.process.start();
  }

  /** Calls back once it is ready, at once if it is. */
  whenReady(done: () => void): void {
    if (this.ready) done();
    else this.waiting.add(done);
  }

  async stop(graceMs = GRACE_MS): Promise<void> {
    this.held = true;
    this.probe.stop();
    await this.process.stop(graceMs);
  }
}
