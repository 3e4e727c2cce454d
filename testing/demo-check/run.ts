import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { execute, type Finished, processesWith } from "./processes.ts";
import { during, monotonicMs, until } from "./wait.ts";

export interface PodState {
  /** "shop/catalog-0". */
  readonly name: string;
  readonly ready: boolean;
  readonly podAddress: string;
  readonly appAddress: string;
  readonly serviceAccount: string;
  readonly restarts: number;
  readonly pids: { readonly proxy: number | null; readonly app: readonly (number | null)[] };
  readonly upstreams: readonly { readonly service: string; readonly address: string }[];
}

export interface EdgeState {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  readonly protocol: "http" | "tcp";
  readonly tls: string;
}

export interface RunState {
  readonly pid: number;
  readonly operator: { readonly ready: boolean; readonly pid: number | null };
  readonly pods: readonly PodState[];
  readonly edges: readonly EdgeState[];
}

export interface Line {
  readonly atMs: number;
  readonly text: string;
}

/** A `weft run` of a folder, as its user sees it: its output, its command line, its files. */
export class Run {
  readonly folder: string;
  readonly startedMs: number;
  readonly lines: Line[] = [];
  private readonly child: ChildProcess;
  private readonly node: string;
  private readonly script: string;
  private exited = false;

  /** Starts `node script run folder` in a process group of its own. */
  constructor(node: string, script: string, folder: string) {
    this.node = node;
    this.script = script;
    this.folder = folder;
    this.startedMs = monotonicMs();
    this.child = spawn(node, [script, "run", folder], { stdio: ["ignore", "pipe", "pipe"], detached: true });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      let rest = "";
      stream?.setEncoding("utf8").on("data", (text: string) => {
        const parts = (rest + text).split("\n");
        rest = parts.pop() ?? "";
        for (const part of parts) this.lines.push({ atMs: monotonicMs(), text: part });
      });
    }
    this.child.once("error", () => (this.exited = true));
    this.child.once("exit", () => (this.exited = true));
  }

  get stateFolder(): string {
    return path.join(this.folder, ".weft");
  }

  get ended(): boolean {
    return this.exited;
  }

  /** The process that was started; the runner itself may be its child. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The first line from number `from` on that matches. Rejects after `withinMs`, or when the run ended. */
  line(pattern: RegExp, withinMs: number, from = 0): Promise<Line> {
    return until(
      `a line like ${pattern}`,
      withinMs,
      () => this.lines.slice(from).find(({ text }) => pattern.test(text)) ?? (this.exited ? this.failEnded() : null),
      20,
    );
  }

  /** The last lines, for messages. */
  tail(count = 6): string {
    return this.lines
      .slice(-count)
      .map(({ text }) => text)
      .join("\n");
  }

  async state(): Promise<RunState> {
    return (await this.control("GET", "/v1/state")) as RunState;
  }

  /** The pods of a Deployment by its name, e.g. "catalog". */
  async podsOf(deployment: string): Promise<readonly PodState[]> {
    const { pods } = await this.state();
    return pods.filter(({ name }) => name.replace(/^[^/]+\//, "").replace(/-\d+$/, "") === deployment);
  }

  async pod(name: string): Promise<PodState> {
    const { pods } = await this.state();
    const pod = pods.find((p) => p.name === `shop/${name}`);
    if (pod === undefined) throw new Error(`there is no pod shop/${name}`);
    return pod;
  }

  async allReady(withinMs: number): Promise<readonly PodState[]> {
    return until("all pods ready", withinMs, async () => {
      if (this.exited) this.failEnded();
      const { pods } = await this.state();
      const waiting = pods.filter((p) => !p.ready);
      if (pods.length === 0 || waiting.length > 0) throw new Error(`not ready: ${waiting.map((p) => p.name).join(", ")}`);
      return pods;
    });
  }

  /** `weft ARGS --state …` to its end. */
  weft(...args: string[]): Promise<Finished> {
    return execute(this.node, [this.script, ...args, "--state", this.stateFolder], "", 60_000);
  }

  read(file: string): string {
    return fs.readFileSync(path.join(this.folder, file), "utf8");
  }

  /** Replaces a manifest whole, as an editor does. Returns the moment at which it was there. */
  write(file: string, text: string): number {
    const temporary = path.join(this.folder, `.${file}.new`);
    fs.writeFileSync(temporary, text);
    fs.renameSync(temporary, path.join(this.folder, file));
    return monotonicMs();
  }

  remove(file: string): void {
    fs.rmSync(path.join(this.folder, file), { force: true });
  }

  /** What Ctrl-C does: the signal goes to the whole foreground group. */
  interrupt(): void {
    this.signal(-this.pid, "SIGINT");
  }

  kill(): void {
    this.signal(this.pid, "SIGKILL");
  }

  /** Every process of this run that is alive. */
  alive(): { readonly pid: number; readonly command: string }[] {
    return processesWith(this.folder);
  }

  /** Ends it for good, whatever state it is in. */
  async dispose(): Promise<void> {
    if (!this.exited) this.signal(this.pid, "SIGTERM");
    for (let round = 0; round < 60 && this.alive().length > 0; round++) {
      if (round > 30) for (const { pid } of this.alive()) this.signal(pid, "SIGKILL");
      await during(100);
    }
  }

  private signal(pid: number, signal: NodeJS.Signals): void {
    try {
      process.kill(pid, signal);
    } catch {
      // It is gone already.
    }
  }

  private failEnded(): never {
    throw new Error(`the run ended:\n${this.tail(12)}`);
  }

  private control(method: string, target: string): Promise<unknown> {
    // The name in the state folder is a link: the system takes short paths only.
    const socketPath = fs.realpathSync(path.join(this.stateFolder, "control.sock"));
    return new Promise((resolve, reject) => {
      const request = http.request({ socketPath, method, path: target, agent: false, timeout: 10_000 }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part));
        response.on("error", reject);
        response.on("end", () => (response.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(text))));
      });
      request.on("timeout", () => request.destroy(new Error("the control socket does not answer")));
      request.on("error", reject);
      request.end();
    });
  }
}
