import fs from "node:fs";
import path from "node:path";
import type { ProxyBootstrap } from "#api/bootstrap.ts";
import type { Clock } from "#api/clock.ts";
import { PORTS } from "#api/ports.ts";
import { type Container, type Pod, RUN_IN_ANNOTATION } from "#api/resources/kube.ts";
import { containerEnvironment, expand, type Upstream } from "./environment.ts";
import type { Report } from "./events.ts";
import { type Command, KeptProcess } from "./kept-process.ts";
import { podKey } from "./keys.ts";
import { LogFile } from "./log-file.ts";
import { isTcp, reachablePort } from "./ports.ts";
import { accepts, answersOk, Probe } from "./probe.ts";
import { findProgram, type Programs } from "./programs.ts";
import type { Position } from "./yaml-file.ts";

/** After so long an app that does not listen is reported, milliseconds. */
const NOT_LISTENING_MS = 10_000;
/** Wait for the last output of a process that died, milliseconds. */
const LAST_WORDS_MS = 30;
/** Longest wait for the proxy to end after SIGTERM, milliseconds: it drains. */
const PROXY_GRACE_MS = 5000;

export interface PodOptions {
  /** As the store has it: with uid, and ports that are reachable here. */
  readonly pod: Pod;
  readonly podAddress: string;
  readonly appAddress: string;
  readonly upstreams: readonly Upstream[];
  readonly token: string;
  readonly trustDomain: string;
  readonly operatorAddress: string;
  readonly bundlePath: string;
  /** Folder of this pod, made here. */
  readonly folder: string;
  readonly logFolder: string;
  readonly adminSocket: string;
  /** The folder that is run: commands run in it unless weft.dev/run-in says otherwise. */
  readonly root: string;
  readonly inherited: Readonly<Record<string, string>>;
  readonly logLevel: ProxyBootstrap["logLevel"];
}

export interface PodDependencies {
  readonly clock: Clock;
  readonly programs: Programs;
  readonly report: Report;
  /** Readiness, addresses or restarts changed. */
  readonly onChange: () => void;
  /** Where a field of the pod, such as "spec.containers[0]", stands in the manifests. */
  readonly locate: (field: string) => FieldPlace;
}

/** A field as the user wrote it: with its path in the object of the file, which may be a Deployment. */
export interface FieldPlace extends Position {
  readonly file: string;
  readonly path: string;
}

export type Part = "pod" | "app" | "proxy";

/** One pod as processes: the sidecar first, the app's containers once the sidecar is ready, each started again when it dies. */
export class PodProcesses {
  readonly options: PodOptions;
  readonly name: string;
  private readonly deps: PodDependencies;
  private readonly proxy: KeptProcess;
  private readonly apps: readonly KeptProcess[];
  private readonly proxyLog: LogFile;
  private readonly appLog: LogFile;
  private readonly proxyProbe: Probe;
  private readonly appProbe: Probe;
  /** Made, or no longer ready, since this moment; monotonic. */
  private unreadySinceMs: number;
  private readonly held = new Set<"app" | "proxy">();
  private cancelWarning: (() => void) | null = null;
  private appsStarted = false;
  private leaving = false;
  private wasReady = false;

  constructor(options: PodOptions, deps: PodDependencies) {
    this.options = options;
    this.deps = deps;
    this.name = podKey(options.pod);
    this.unreadySinceMs = deps.clock.monotonicMs();
    fs.mkdirSync(path.join(options.folder, "state"), { recursive: true, mode: 0o700 });
    fs.mkdirSync(options.logFolder, { recursive: true, mode: 0o700 });
    const logPath = (part: string): string => path.join(options.logFolder, `${options.pod.metadata.name}.${part}.log`);
    this.proxyLog = new LogFile(logPath("proxy"));
    this.appLog = new LogFile(logPath("app"));
    this.writeFiles();
    this.proxyProbe = new Probe(
      () => answersOk(options.podAddress, PORTS.proxyAdmin, "/readyz"),
      deps.clock,
      (well) => this.onProxy(well),
    );
    this.appProbe = new Probe(
      async () => (await this.silentPorts()).length === 0,
      deps.clock,
      () => this.changed(),
    );
    this.proxy = new KeptProcess(() => this.proxyCommand(), deps.clock, {
      onStart: () => this.proxyProbe.restart(),
      onOutput: (chunk) => {
        this.proxyLog.write(chunk);
        this.echoErrors(chunk);
      },
      onCrash: (how, ms) => {
        this.proxyProbe.stop();
        this.crashed("proxy", how, ms, this.proxyLog, logPath("proxy"));
      },
    });
    this.apps = options.pod.spec.containers.map(
      (container) =>
        new KeptProcess(() => this.appCommand(container), deps.clock, {
          onStart: () => this.onAppStart(),
          onOutput: (chunk) => this.appLog.write(chunk),
          onCrash: (how, ms) => {
            this.appProbe.stop();
            this.crashed(`app ${container.name}`, how, ms, this.appLog, logPath("app"));
          },
        }),
    );
  }

  start(): void {
    this.proxy.start();
  }

  get ready(): boolean {
    return (
      !this.leaving && this.held.size === 0 && this.proxyProbe.well && this.appsUp && (this.tcpPorts.length === 0 || this.appProbe.well)
    );
  }

  get restarts(): number {
    return this.proxy.restarts + this.apps.reduce((sum, app) => sum + app.restarts, 0);
  }

  get pids(): { readonly proxy: number | null; readonly app: readonly (number | null)[] } {
    return { proxy: this.proxy.pid, app: this.apps.map((a) => a.pid) };
  }

  /** Why the pod is not ready, in words that fit a condition. */
  get state(): { readonly reason: string; readonly message: string } {
    if (this.leaving) return { reason: "Terminating", message: "the pod is going away" };
    if (this.held.size > 0) return { reason: "Stopped", message: `${[...this.held].join(" and ")} held down by \`weft stop\`` };
    if (!this.proxyProbe.well) return { reason: "ProxyNotReady", message: "the sidecar has no certificate or no documents yet" };
    if (!this.appsUp) return { reason: "AppNotRunning", message: "the app is not running" };
    if (this.ready) return { reason: "Ready", message: "" };
    return { reason: "AppNotListening", message: `nothing listens on ${this.options.appAddress}, port ${this.tcpPorts.join(", ")}` };
  }

  /** Holds a part down: not ready at once, stopped once `drained` resolves. */
  async hold(part: Part, drained: () => Promise<void>): Promise<void> {
    if (part !== "proxy") this.held.add("app");
    if (part !== "app") this.held.add("proxy");
    this.changed();
    await drained();
    if (this.held.has("app")) await this.stopApps();
    if (this.held.has("proxy")) {
      this.proxyProbe.stop();
      await this.proxy.stop(PROXY_GRACE_MS);
    }
    this.changed();
  }

  release(part: Part): void {
    if (part !== "proxy") this.held.delete("app");
    if (part !== "app") this.held.delete("proxy");
    if (!this.held.has("proxy")) this.proxy.start();
    // With its sidecar held down an app comes back by itself; otherwise it waits for the sidecar, as at first.
    if (this.proxyProbe.well || this.held.has("proxy")) this.startApps();
    this.changed();
  }

  /** Not ready; once `drained` resolves, because callers have heard of it, the app is stopped and last the sidecar. */
  async terminate(drained: () => Promise<void>): Promise<void> {
    this.leaving = true;
    this.changed();
    await drained();
    await this.stopApps();
    this.proxyProbe.stop();
    await this.proxy.stop(PROXY_GRACE_MS);
    this.close();
  }

  /** All at once, for the end of the run. */
  async terminateNow(graceMs: number): Promise<void> {
    this.leaving = true;
    this.cancelWarning?.();
    this.appProbe.stop();
    this.proxyProbe.stop();
    await Promise.all([this.proxy.stop(graceMs), ...this.apps.map((a) => a.stop(graceMs))]);
    this.close();
  }

  kill(): void {
    this.leaving = true;
    this.proxy.kill();
    for (const app of this.apps) app.kill();
  }

  private get appsUp(): boolean {
    return this.appsStarted && this.apps.every((a) => a.running);
  }

  private get tcpPorts(): readonly number[] {
    return this.options.pod.spec.containers.flatMap((c) => (c.ports ?? []).filter(isTcp).map((p) => reachablePort(p.containerPort)));
  }

  private get bootstrapPath(): string {
    return path.join(this.options.folder, "bootstrap.json");
  }

  private async silentPorts(): Promise<readonly number[]> {
    const answers = await Promise.all(this.tcpPorts.map(async (port) => ({ port, well: await accepts(this.options.appAddress, port) })));
    return answers.filter((a) => !a.well).map((a) => a.port);
  }

  private onProxy(well: boolean): void {
    if (well) this.startApps();
    this.changed();
  }

  private startApps(): void {
    if (this.held.has("app") || this.leaving) return;
    this.appsStarted = true;
    for (const app of this.apps) app.start();
  }

  private onAppStart(): void {
    this.appProbe.restart();
    this.cancelWarning?.();
    this.cancelWarning = this.deps.clock.after(NOT_LISTENING_MS, () => void this.warnIfSilent());
    this.changed();
  }

  private async warnIfSilent(): Promise<void> {
    if (this.appProbe.well || !this.appsUp) return;
    const silent = await this.silentPorts();
    if (silent.length === 0 || !this.appsUp || this.leaving) return;
    const message = `pod ${this.name}: the app runs but does not listen on ${silent.map((p) => `${this.options.appAddress}:${p}`).join(", ")}`;
    const remedy = "make it listen on the address in HOST and the port in PORT (the first containerPort)";
    const place = this.deps.locate(this.fieldOfPort(silent[0]!));
    this.deps.report({ type: "problem", problem: { severity: "warning", ...place, code: "WEFT_APP_NOT_LISTENING", message, remedy } });
  }

  private fieldOfPort(port: number): string {
    for (const [i, { ports = [] }] of this.options.pod.spec.containers.entries()) {
      const j = ports.findIndex((p) => isTcp(p) && reachablePort(p.containerPort) === port);
      if (j >= 0) return `spec.containers[${i}].ports[${j}].containerPort`;
    }
    return "spec.containers";
  }

  private async stopApps(): Promise<void> {
    this.cancelWarning?.();
    this.appProbe.stop();
    const graceMs = (this.options.pod.spec as { terminationGracePeriodSeconds?: number }).terminationGracePeriodSeconds ?? 30;
    await Promise.all(this.apps.map((a) => a.stop(graceMs * 1000)));
  }

  private crashed(part: string, how: string, restartInMs: number, log: LogFile, logPath: string): void {
    this.cancelWarning?.();
    this.changed();
    // Its last words may still be in the pipe.
    this.deps.clock.after(LAST_WORDS_MS, () => {
      this.deps.report({ type: "crashed", process: `pod ${this.name}, ${part}`, how, restartInMs, tail: log.tail(5), log: logPath });
    });
  }

  private changed(): void {
    const { ready } = this;
    const now = this.deps.clock.monotonicMs();
    if (ready && !this.wasReady) this.deps.report({ type: "pod-ready", pod: this.name, afterMs: now - this.unreadySinceMs });
    if (!ready && this.wasReady) this.unreadySinceMs = now;
    if (!ready && this.wasReady && !this.leaving) this.deps.report({ type: "pod-not-ready", pod: this.name, why: this.state.message });
    this.wasReady = ready;
    this.deps.onChange();
  }

  private close(): void {
    this.proxyLog.close();
    this.appLog.close();
    fs.rmSync(this.options.folder, { recursive: true, force: true });
  }

  /** The sidecar's log lines of level error, which are JSON. */
  private echoErrors(chunk: Buffer): void {
    for (const message of errorLines(chunk)) this.deps.report({ type: "logged", process: `pod ${this.name}, proxy`, message });
  }

  private proxyCommand(): Command {
    // A killed sidecar leaves its socket file, on which the next one could not listen.
    fs.rmSync(this.options.adminSocket, { force: true });
    return this.deps.programs.proxy(this.bootstrapPath);
  }

  private appCommand(container: Container): Command {
    const { options } = this;
    const { name, namespace = "default" } = options.pod.metadata;
    const env = containerEnvironment(
      container,
      { pod: name, namespace, appAddress: options.appAddress, upstreams: options.upstreams },
      options.inherited,
    );
    const [program = "", ...args] = [...(container.command ?? []), ...(container.args ?? [])].map((a) => expand(a, env));
    const cwd = path.resolve(options.root, options.pod.metadata.annotations?.[RUN_IN_ANNOTATION] ?? ".");
    const file = findProgram(program, cwd, env["PATH"] ?? "");
    // Not found: let the start itself fail, so that the report is the system's own.
    return file === null ? { file: program, args, env, cwd } : this.deps.programs.app(file, [program, ...args], env, cwd);
  }

  private writeFiles(): void {
    const { options } = this;
    const { name, namespace = "default" } = options.pod.metadata;
    const tokenPath = path.join(options.folder, "token");
    const bootstrap: ProxyBootstrap = {
      workload: { namespace, pod: name, serviceAccount: options.pod.spec.serviceAccountName ?? "default" },
      trustDomain: options.trustDomain,
      controlPlane: { address: options.operatorAddress, bundlePath: options.bundlePath },
      tokenPath,
      stateDir: path.join(options.folder, "state"),
      podAddress: options.podAddress,
      appAddress: options.appAddress,
      inbound: this.tcpPorts.map((port) => ({ port, appPort: port })),
      outbound: options.upstreams.flatMap(({ service, address }) =>
        (service.spec.ports ?? []).filter(isTcp).map((p) => ({
          address,
          port: reachablePort(p.port),
          service: { namespace: service.metadata.namespace ?? "default", name: service.metadata.name, port: p.port },
        })),
      ),
      adminPort: PORTS.proxyAdmin,
      adminSocket: options.adminSocket,
      logLevel: options.logLevel,
    };
    fs.writeFileSync(tokenPath, options.token, { mode: 0o600 });
    fs.writeFileSync(this.bootstrapPath, JSON.stringify(bootstrap, null, 2), { mode: 0o600 });
  }
}

/** Messages of the lines in `chunk` that our logger wrote at level error; anything else is skipped. */
export function errorLines(chunk: Buffer): string[] {
  if (!chunk.includes('"level":"error"')) return [];
  const messages: string[] = [];
  for (const line of chunk.toString("utf8").split("\n")) {
    try {
      const { level, message, code, detail } = JSON.parse(line) as Record<string, unknown>;
      if (level === "error") messages.push([code, message, detail].filter((v) => typeof v === "string").join(": "));
    } catch {
      // A line cut by the chunk's end: the log file has it whole.
    }
  }
  return messages;
}
