import path from "node:path";
import { control } from "#standalone/client.ts";
import { pause, ROOT, type Running } from "../processes.ts";
import type { Ground, Target } from "./target.ts";

const READY_MS = 60_000;

interface RunState {
  readonly operator: { readonly address: string; readonly ready: boolean };
  readonly pods: readonly {
    readonly name: string;
    readonly ready: boolean;
    readonly pids: { readonly proxy: number | null };
    readonly upstreams: readonly { readonly service: string; readonly address: string }[];
  }[];
}

/** A `weft run` like any user's: the shipped bundle, the operator connected, no flag but where its state goes. */
export class WeftRun {
  readonly operatorAddress: string;
  private readonly running: Running;
  private readonly pods: RunState["pods"];

  private constructor(running: Running, state: RunState) {
    this.running = running;
    this.pods = state.pods;
    this.operatorAddress = state.operator.address;
  }

  /** Resolves once every pod is ready. */
  static async start(ground: Ground, folder: string): Promise<WeftRun> {
    const state = path.join(ground.folder, `weft-${runs++}`);
    const args = [path.join(ROOT, "bin/weft.js"), "run", folder, "--state", state];
    const running = ground.processes.start({ name: "weft-run", program: process.execPath, args, cwd: ROOT });
    const deadline = performance.now() + READY_MS;
    for (;;) {
      if (running.over !== null) throw new Error(`weft run ended with ${running.over}:\n    ${running.tail()}`);
      if (performance.now() > deadline) throw new Error(`weft run is not ready after ${READY_MS / 1000} s:\n    ${running.tail()}`);
      const now = await look(state);
      if (now?.operator.ready === true && now.pods.length > 0 && now.pods.every((pod) => pod.ready)) return new WeftRun(running, now);
      await pause(100);
    }
  }

  /**
   * The listener of a Service in the sidecar of pod `client`, and the sidecars that a request to it passes: the client's
   * and, unless it leads out of the mesh, that of pod `app`.
   */
  target(service: string, port: number, app: string | null): Target {
    const client = this.pod("client");
    const upstream = client.upstreams.find((u) => u.service === service);
    if (upstream === undefined) throw new Error(`the pod client has no listener for Service ${service}`);
    return { host: upstream.address, port, pids: ["client", ...(app === null ? [] : [app])].map((name) => this.sidecar(name)) };
  }

  stop(): Promise<void> {
    return this.running.stop();
  }

  /** Pid of the sidecar of a pod. */
  sidecar(name: string): number {
    const { proxy } = this.pod(name).pids;
    if (proxy === null) throw new Error(`the sidecar of pod ${name} does not run`);
    return proxy;
  }

  private pod(name: string): RunState["pods"][number] {
    const pod = this.pods.find((p) => p.name === `bench/${name}`);
    if (pod === undefined) throw new Error(`there is no pod ${name}`);
    return pod;
  }
}

let runs = 0;

async function look(state: string): Promise<RunState | null> {
  try {
    return (await control(state, "GET", "/v1/state")).body as RunState;
  } catch {
    return null;
  }
}
