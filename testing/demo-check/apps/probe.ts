/**
 * A client in the mesh that is steered over HTTP on its own address. It reaches Services as any app does, by
 * NAME_SERVICE_HOST and NAME_SERVICE_PORT, never retries, and sends one request in ten on a new connection.
 */
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import net from "node:net";

const ANSWER_MS = 15_000;
const FAILURES_KEPT = 1000;
const NEW_CONNECTION_EVERY = 10;

interface LoadOrder {
  readonly service: string;
  readonly paths: readonly string[];
  readonly rate: number;
  readonly count?: number;
  readonly postEvery?: number;
  readonly postPath?: string;
  readonly body?: unknown;
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function addressOf(service: string, portName = ""): { host: string; port: number } {
  const name = service.toUpperCase().replaceAll("-", "_");
  const host = process.env[`${name}_SERVICE_HOST`];
  const port = process.env[`${name}_SERVICE_PORT${portName === "" ? "" : `_${portName.toUpperCase()}`}`];
  if (host === undefined || port === undefined) throw new Error(`${name}_SERVICE_HOST or its port is not set`);
  return { host, port: Number(port) };
}

/** Open-loop requests: sent when they are due. */
class Load {
  private readonly order: LoadOrder;
  private readonly agent = new http.Agent({ keepAlive: true });
  private readonly startMs = monotonicMs();
  private readonly timer: NodeJS.Timeout;
  private readonly statuses: Record<string, number> = {};
  private readonly versions: Record<string, number> = {};
  private readonly lastStartMs: Record<string, number> = {};
  private readonly failures: { startedMs: number; method: string; path: string; why: string }[] = [];
  private readonly durations: number[] = [];
  private started = 0;
  private finished = 0;
  private failed = 0;
  private idle: (() => void) | null = null;

  constructor(order: LoadOrder) {
    this.order = order;
    this.timer = setInterval(() => this.turn(), Math.max(1, Math.min(20, 1000 / order.rate)));
  }

  summary(): unknown {
    const sorted = [...this.durations].sort((a, b) => a - b);
    const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
    const { started, finished, failed, statuses, versions, lastStartMs, failures } = this;
    return { started, finished, failed, statuses, versions, lastStartMs, failures, p50Ms: at(0.5), p99Ms: at(0.99) };
  }

  async finish(): Promise<unknown> {
    clearInterval(this.timer);
    if (this.finished < this.started) await new Promise<void>((resolve) => (this.idle = resolve));
    this.agent.destroy();
    return this.summary();
  }

  private turn(): void {
    const { rate, count = 0 } = this.order;
    const due = Math.floor(((monotonicMs() - this.startMs) / 1000) * rate);
    // After a pause of this process not all at once: that would be another load than was asked for.
    const target = Math.min(due, this.started + Math.max(5, Math.ceil(rate / 10)), count === 0 ? due : count);
    while (this.started < target) this.send(this.started++);
    if (count > 0 && this.started >= count) clearInterval(this.timer);
  }

  private send(n: number): void {
    const { service, paths, postEvery = 0, postPath = "/", body } = this.order;
    const isPost = postEvery > 0 && n % postEvery === postEvery - 1;
    const method = isPost ? "POST" : "GET";
    const path = isPost ? postPath : (paths[n % paths.length] ?? "/");
    const payload = isPost ? JSON.stringify(body ?? {}) : "";
    const startedMs = monotonicMs();
    let settled = false;
    const settle = (why: string): void => {
      if (settled) return;
      settled = true;
      this.finished++;
      this.durations.push(monotonicMs() - startedMs);
      if (why !== "") {
        this.failed++;
        if (this.failures.length < FAILURES_KEPT) this.failures.push({ startedMs, method, path, why });
      }
      if (this.finished === this.started) this.idle?.();
    };
    const request = http.request({
      ...addressOf(service),
      method,
      path,
      agent: n % NEW_CONNECTION_EVERY === 0 ? false : this.agent,
      timeout: ANSWER_MS,
      headers: isPost ? { "content-type": "application/json", "content-length": Buffer.byteLength(payload) } : {},
    });
    request.on("response", (response) => this.receive(response, startedMs, settle));
    request.on("timeout", () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    request.on("error", (error) => settle(error.message));
    request.end(payload);
  }

  private receive(response: IncomingMessage, startedMs: number, settle: (why: string) => void): void {
    let text = "";
    response.setEncoding("latin1").on("data", (part: string) => {
      if (text.length < 300) text += part;
    });
    response.on("error", (error) => settle(error.message));
    response.on("end", () => {
      const { statusCode = 0 } = response;
      this.statuses[statusCode] = (this.statuses[statusCode] ?? 0) + 1;
      const version = response.headers["x-reviews-version"];
      if (typeof version === "string") {
        this.versions[version] = (this.versions[version] ?? 0) + 1;
        this.lastStartMs[version] = Math.max(this.lastStartMs[version] ?? 0, startedMs);
      }
      settle(statusCode >= 500 ? `${statusCode} ${text.trim()}` : "");
    });
  }
}

const loads = new Map<string, Load>();

function tcp(order: { service: string; send: string; expectBytes: number; withinMs: number }): Promise<unknown> {
  return new Promise((resolve) => {
    let received = "";
    const socket = net.connect({ ...addressOf(order.service), allowHalfOpen: true });
    const done = (ended: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, ended });
    };
    const timer = setTimeout(() => done(""), order.withinMs);
    socket.setEncoding("latin1").on("data", (text) => {
      received += String(text);
      if (received.length >= order.expectBytes) done("");
    });
    socket.once("connect", () => socket.write(order.send));
    socket.once("end", () => done("end"));
    socket.once("error", (error) => done(error.message));
    socket.once("close", () => done("close"));
  });
}

interface BulkOrder {
  readonly service: string;
  readonly protocol: "http" | "tcp";
  readonly bytes: number;
  readonly pauseMs: number;
  readonly bytesPerSecond: number;
}

/** The stream that is to be read slowly, paused. */
function openBulk(order: BulkOrder): Promise<IncomingMessage | net.Socket> {
  return new Promise((resolve, reject) => {
    if (order.protocol === "tcp") {
      const socket = net.connect({ ...addressOf(order.service, "tcp"), allowHalfOpen: true });
      socket.pause();
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.write(`${order.bytes}\n`);
        resolve(socket);
      });
      return;
    }
    const request = http.get({ ...addressOf(order.service, "http"), path: `/bytes/${order.bytes}`, agent: false }, (response) => {
      if (response.statusCode === 200) resolve(response);
      else reject(new Error(`${response.statusCode} from ${order.service}`));
    });
    request.once("error", reject);
  });
}

async function bulk(order: BulkOrder): Promise<unknown> {
  const stream = await openBulk(order);
  const beganMs = monotonicMs();
  await new Promise((resolve) => void setTimeout(resolve, order.pauseMs));
  const readingMs = monotonicMs();
  return new Promise((resolve, reject) => {
    let bytes = 0;
    const finish = (): void => {
      stream.destroy();
      const now = monotonicMs();
      if (bytes === order.bytes) resolve({ bytes, pausedMs: readingMs - beganMs, readingMs: now - readingMs });
      else reject(new Error(`ended after ${bytes} of ${order.bytes} bytes`));
    };
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes >= order.bytes) return finish();
      const aheadMs = order.bytesPerSecond === 0 ? 0 : (bytes / order.bytesPerSecond) * 1000 - (monotonicMs() - readingMs);
      if (aheadMs < 2) return;
      stream.pause();
      setTimeout(() => stream.resume(), aheadMs);
    });
    stream.once("end", finish);
    stream.once("error", reject);
    stream.once("close", finish);
    stream.resume();
  });
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) text += String(part);
  return text === "" ? undefined : JSON.parse(text);
}

async function handle(request: IncomingMessage): Promise<unknown> {
  const { method, url = "/" } = request;
  const body = await readJson(request);
  if (url === "/tcp") return tcp(body as Parameters<typeof tcp>[0]);
  if (url === "/bulk") return bulk(body as BulkOrder);
  if (method === "POST") {
    loads.set(url, new Load(body as LoadOrder));
    return {};
  }
  const load = loads.get(url);
  if (load === undefined) throw new Error(`there is no ${url}`);
  if (method !== "DELETE") return load.summary();
  loads.delete(url);
  return load.finish();
}

const server = http.createServer((request: IncomingMessage, response: ServerResponse) => {
  handle(request).then(
    (value) => response.end(JSON.stringify(value)),
    (error: unknown) => {
      response.statusCode = 500;
      response.end(error instanceof Error ? error.message : String(error));
    },
  );
});
server.requestTimeout = 0;
server.listen(Number(process.env["PORT"] ?? 9000), process.env["HOST"] ?? "0.0.0.0");
process.once("SIGTERM", () => process.exit(0));
