import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net, { type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { control } from "#standalone/client.ts";

/** Attacks need the real thing: `weft run` with a client's and an app's sidecar. The app is played by the test, on the app's address. */

const ROOT = path.resolve(import.meta.dirname, "../..");
const READY_MS_MAX = 45_000;
const WAIT_MS_MAX = 8_000;
const LOOK_MS = 5;
const ADMIN_PORT = 16803;
const PORT = 8080;

const IDLE = `[node, -e, "setInterval(()=>{},1e9)"]`;
const MESH = `apiVersion: weft.dev/v1alpha1
kind: MeshIdentity
metadata: {name: mesh, namespace: weft-system}
spec: {trustDomain: cluster.local, mtls: {mode: Permissive}}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec: {selector: {app: app}, ports: [{name: http, port: ${PORT}, targetPort: ${PORT}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: shop, labels: {app: app}}
spec: {containers: [{name: app, command: ${IDLE}, ports: [{containerPort: ${PORT}}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {containers: [{name: app, command: ${IDLE}}]}
`;

interface PodState {
  readonly name: string;
  readonly ready: boolean;
  readonly podAddress: string;
  readonly appAddress: string;
  readonly pids: { readonly proxy: number };
  readonly upstreams: readonly { readonly service: string; readonly address: string }[];
}

export async function until<T>(what: string, holds: () => T | Promise<T>, ms = WAIT_MS_MAX): Promise<NonNullable<T>> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await holds();
    if (value) return value as NonNullable<T>;
    if (performance.now() > end) throw new Error(`not so after ${ms} ms: ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export interface Address {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** A request as Node's own strict parser, an implementation that is not ours, found it in the app's bytes. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly fields: readonly string[];
  readonly trailers: readonly string[];
  readonly body: string;
}

/** The app: every byte that reaches it is kept, and Node's parser says which requests they are. */
export class RecordingApp {
  seen: Seen[] = [];
  /** Bytes in the order of their arrival, of all connections. */
  raw = "";
  /** What Node's parser refused. */
  readonly refused: string[] = [];
  /** By path: answers in place of the echo, on the bare socket if it likes. */
  readonly plays = new Map<string, (request: IncomingMessage, response: ServerResponse, socket: Socket) => void>();
  readonly sockets = new Set<Socket>();
  private readonly http: http.Server;
  readonly server: net.Server;

  constructor() {
    this.http = http.createServer({ insecureHTTPParser: false, maxHeaderSize: 256 * 1024, requireHostHeader: true });
    this.http.keepAliveTimeout = 60_000;
    const take = (request: IncomingMessage, response: ServerResponse): void => this.take(request, response);
    this.http.on("request", take);
    this.http.on("checkContinue", take);
    this.http.on("checkExpectation", take);
    this.http.on("upgrade", (request, socket) => {
      this.refused.push(`upgrade ${request.url}`);
      socket.destroy();
    });
    this.http.on("clientError", (error: Error, socket) => {
      // A connection that carried nothing was a probe of the runner's.
      this.refused.push(error.message);
      socket.destroy();
    });
    this.server = net.createServer((socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        if (this.raw.length < 8 * 1024 * 1024) this.raw += chunk.toString("latin1");
      });
      this.http.emit("connection", socket);
    });
  }

  private take(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? "";
    const play = this.plays.get(url);
    if (play !== undefined) {
      play(request, response, request.socket);
      return;
    }
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
    request.on("end", () => {
      // Spread: Node's arrays are not of the realm that jest runs tests in.
      this.seen.push({ method: request.method ?? "", url, fields: [...request.rawHeaders], trailers: [...request.rawTrailers], body });
      response.end(`<${request.method} ${url} ${body.length}>`);
    });
  }

  reset(): void {
    this.seen = [];
    this.raw = "";
    this.refused.length = 0;
    this.plays.clear();
  }
}

/** One client connection, in plain bytes. */
export class Client {
  readonly socket: Socket;
  text = "";
  bytes = 0;
  ended = false;
  closed = false;

  constructor(to: Address) {
    this.socket = net.connect({ host: to.host, port: to.port, allowHalfOpen: true, noDelay: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.text.length < 1024 * 1024) this.text += chunk.toString("latin1");
    });
    this.socket.on("end", () => (this.ended = true));
    this.socket.on("error", () => {});
    this.socket.on("close", () => (this.closed = true));
  }

  get over(): boolean {
    return this.ended || this.closed;
  }

  write(text: string | Buffer): this {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
    return this;
  }

  hears(pattern: RegExp): Promise<boolean> {
    return until(`${pattern} in ${JSON.stringify(this.text.slice(0, 300))}`, () => pattern.test(this.text) || this.over);
  }

  /** Everything until the end of the connection; what was sent must be all that is sent. */
  async all(): Promise<string> {
    await until(`the end after ${JSON.stringify(this.text.slice(0, 300))}`, () => this.over);
    this.socket.destroy();
    return this.text;
  }

  /** Status of each response heard, in order. */
  get statuses(): number[] {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((m) => Number(m[1]));
  }
}

export class Pair {
  readonly app = new RecordingApp();
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-attack-"));
  readonly child: ChildProcess;
  outbound!: Address;
  inbound!: Address;
  private stderr = "";
  private pods: readonly PodState[] = [];
  private readonly clients = new Set<Client>();

  private constructor() {
    fs.writeFileSync(path.join(this.folder, "mesh.yaml"), MESH);
    // The sources, not the bundle: what is tested is what is there.
    const args = ["--disable-warning=ExperimentalWarning", path.join(ROOT, "cli/main.ts"), "run", this.folder, "--no-watch", "-o", "json"];
    this.child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"], cwd: ROOT });
    this.child.stderr?.on("data", (chunk: Buffer) => (this.stderr += chunk.toString()));
  }

  static async start(): Promise<Pair> {
    const pair = new Pair();
    try {
      const state = path.join(pair.folder, ".weft");
      const podsOf = async (): Promise<readonly PodState[]> => {
        if (pair.child.exitCode !== null) throw new Error(`weft run ended: ${pair.stderr}`);
        return control(state, "GET", "/v1/state").then(
          ({ body }) => (body as { pods: readonly PodState[] }).pods,
          () => [],
        );
      };
      pair.pods = await until("two pods", async () => ((pair.pods = await podsOf()).length === 2 ? pair.pods : null), READY_MS_MAX);
      pair.app.server.listen(PORT, pair.pod("app").appAddress);
      pair.pods = await until(
        "ready pods",
        async () => {
          pair.pods = await podsOf();
          return pair.pods.every((p) => p.ready) ? pair.pods : null;
        },
        READY_MS_MAX,
      );
    } catch (error) {
      await pair.stop();
      throw error;
    }
    pair.outbound = { name: "outbound", host: pair.pod("client").upstreams[0]!.address, port: PORT };
    pair.inbound = { name: "inbound", host: pair.pod("app").podAddress, port: PORT };
    return pair;
  }

  private pod(name: string): PodState {
    return this.pods.find((p) => p.name === `shop/${name}`)!;
  }

  /** Both ways to the app: through both sidecars, and straight to the inbound one, which is Permissive. */
  get ways(): readonly Address[] {
    return [this.outbound, this.inbound];
  }

  get pids(): readonly number[] {
    return [this.pod("client").pids.proxy, this.pod("app").pids.proxy];
  }

  /** Pids of the proxies that run now: the same as at the start unless one has ended. */
  async pidsNow(): Promise<readonly number[]> {
    const { body } = await control(path.join(this.folder, ".weft"), "GET", "/v1/state");
    const { pods } = body as { pods: readonly PodState[] };
    return ["client", "app"].map((name) => pods.find((p) => p.name === `shop/${name}`)?.pids.proxy ?? 0);
  }

  client(to: Address): Client {
    const client = new Client(to);
    this.clients.add(client);
    client.socket.on("close", () => this.clients.delete(client));
    return client;
  }

  /** A request of somebody else: its body says whose answer it got. */
  async victim(to: Address, url: string): Promise<string> {
    const c = this.client(to);
    c.write(`GET ${url} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n`);
    return (await c.all()).split("\r\n\r\n").slice(1).join("\r\n\r\n");
  }

  /** Sum of a metric of one proxy over the series whose line has `part`. */
  async metric(pod: "client" | "app", name: string, part = ""): Promise<number> {
    const response = await fetch(`http://${this.pod(pod).podAddress}:${ADMIN_PORT}/metrics`);
    const lines = (await response.text()).split("\n").filter((l) => l.startsWith(name) && l.includes(part));
    return lines.reduce((sum, l) => sum + Number(l.split(" ").at(-1)), 0);
  }

  /** Bytes of anonymous memory of each proxy. */
  rssAnon(): number[] {
    return this.pids.map((pid) => Number(/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024);
  }

  /** Open sockets of each proxy. */
  sockets(): number[] {
    return this.pids.map((pid) => {
      const folder = `/proc/${pid}/fd`;
      return fs.readdirSync(folder).filter((fd) => {
        try {
          return fs.readlinkSync(path.join(folder, fd)).startsWith("socket:");
        } catch {
          return false;
        }
      }).length;
    });
  }

  async stop(): Promise<void> {
    for (const c of this.clients) c.socket.destroy();
    for (const s of this.app.sockets) s.destroy();
    this.app.server.close();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = new Promise<void>((resolve) => this.child.once("exit", () => resolve()));
      this.child.kill("SIGTERM");
      await exited;
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
