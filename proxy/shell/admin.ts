import { lstatSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { LogLevel, Logger } from "#runtime/logger.ts";
import { EXPOSITION_TYPE } from "../telemetry/exposition.ts";

export interface AdminOptions {
  /** Where /metrics, /livez and /readyz are served: the pod's address, for Prometheus and kubelet. */
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  /** Unix socket, owner-only, for /config and /loglevel: what only the owner of the process may see and do. */
  readonly socketPath: string;
  /** The metrics' text, in chunks. Asked for at each scrape. */
  readonly metrics: () => Iterable<string>;
  /** What is still missing before traffic can be taken, in words. Once it was empty it is not asked again. */
  readonly missing: () => readonly string[];
  /** What /config shows. Never put a key in it. */
  readonly config: () => unknown;
  readonly logger: Logger;
}

const BODY_BYTES_MAX = 1024;
const LEVELS: readonly LogLevel[] = ["error", "warn", "info", "debug"];

/** Node's parser at its strictest, and a bound on everything a client can hold. */
const STRICT = {
  insecureHTTPParser: false,
  requireHostHeader: true,
  joinDuplicateHeaders: false,
  rejectNonStandardBodyWrites: true,
  maxHeaderSize: 8 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
} as const;
const CONNECTIONS_MAX = 64;
/** No byte for so long, in the middle of an answer: whoever reads is gone. */
const SOCKET_IDLE_MS = 15_000;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;
type Routes = Readonly<Record<string, Readonly<Partial<Record<string, Handler>>>>>;

/**
 * The proxy's admin server, in two: what anybody in the cluster may read, on the pod's address, and what only the
 * owner may, on a Unix socket of mode 0600.
 */
export class AdminServer {
  private readonly options: AdminOptions;
  private readonly open: Server;
  private readonly owner: Server;
  private ready = false;

  constructor(options: AdminOptions) {
    this.options = options;
    this.open = serve({
      "/metrics": { GET: (_, response) => this.metrics(response) },
      "/livez": { GET: (_, response) => text(response, 200, "ok\n") },
      "/readyz": { GET: (_, response) => this.readyz(response) },
    });
    this.owner = serve({
      "/config": { GET: (_, response) => json(response, 200, this.options.config()) },
      "/loglevel": {
        GET: (_, response) => json(response, 200, { level: this.options.logger.level }),
        PUT: (request, response) => this.setLevel(request, response),
      },
    });
  }

  /** Listens on both. Rejects when an address is taken; a socket file that nobody cleaned up is not in the way. */
  async start(): Promise<{ readonly port: number }> {
    await listening(this.open, () => this.open.listen({ host: this.options.address, port: this.options.port, exclusive: true }));
    removeSocket(this.options.socketPath);
    await listening(this.owner, () => {
      // The file is made inside this call; with chmod afterwards there would be a moment in which anybody could connect.
      const umask = process.umask(0o177);
      try {
        this.owner.listen({ path: this.options.socketPath });
      } finally {
        process.umask(umask);
      }
    });
    const address = this.open.address();
    return { port: typeof address === "object" && address !== null ? address.port : this.options.port };
  }

  async close(): Promise<void> {
    await Promise.all([this.open, this.owner].map(closed));
  }

  private metrics(response: ServerResponse): void {
    response.writeHead(200, { "content-type": EXPOSITION_TYPE, "cache-control": "no-store" });
    if (hasBody(response)) for (const chunk of this.options.metrics()) response.write(chunk);
    response.end();
  }

  private readyz(response: ServerResponse): void {
    const missing = this.ready ? [] : this.options.missing();
    // Held from then on: a proxy that serves must not be taken out because the operator is gone.
    this.ready ||= missing.length === 0;
    if (this.ready) text(response, 200, "ok\n");
    else text(response, 503, `missing: ${missing.join(", ")}\n`);
  }

  private setLevel(request: IncomingMessage, response: ServerResponse): void {
    readBody(request, (body) => {
      if (body === null) return text(response, 413, `at most ${BODY_BYTES_MAX} bytes\n`);
      const level = LEVELS.find((l) => l === levelOf(body));
      if (level === undefined) return text(response, 400, `one of ${LEVELS.join(", ")}, as text or {"level": …}\n`);
      this.options.logger.level = level;
      json(response, 200, { level });
    });
  }
}

function serve(routes: Routes): Server {
  const server = createServer(STRICT, (request, response) => {
    request.on("error", () => {});
    response.on("error", () => {});
    try {
      answer(routes, request, response);
    } catch {
      // A bug of ours in making the answer; the proxy goes on.
      if (response.headersSent) response.destroy();
      else text(response, 500, "error\n");
    }
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.maxRequestsPerSocket = 1_000;
  server.setTimeout(SOCKET_IDLE_MS);
  server.on("clientError", (_, socket) => socket.destroy());
  server.on("upgrade", (_, socket) => socket.destroy());
  server.on("connect", (_, socket) => socket.destroy());
  return server;
}

function answer(routes: Routes, request: IncomingMessage, response: ServerResponse): void {
  const path = (request.url ?? "").split("?", 1)[0]!;
  const methods = Object.hasOwn(routes, path) ? routes[path]! : undefined;
  if (methods === undefined) {
    text(response, 404, `${Object.keys(routes).join("\n")}\n`);
    return;
  }
  const method = request.method === "HEAD" ? "GET" : (request.method ?? "");
  const handler = Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (handler === undefined) {
    response.setHeader("allow", Object.keys(methods).join(", "));
    text(response, 405, "");
    return;
  }
  handler(request, response);
}

function text(response: ServerResponse, status: number, body: string): void {
  // A refused request may have a body that nobody reads: the connection cannot carry another.
  const close = status >= 400 && status !== 503 ? { connection: "close" } : {};
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
    ...close,
  });
  response.end(hasBody(response) ? body : undefined);
}

function json(response: ServerResponse, status: number, value: unknown): void {
  const body = `${JSON.stringify(value, null, 2)}\n`;
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  response.end(hasBody(response) ? body : undefined);
}

/** Node throws at a body in answer to HEAD (`rejectNonStandardBodyWrites`). */
function hasBody(response: ServerResponse): boolean {
  return response.req.method !== "HEAD";
}

/** The whole body, or null when it is too large. Not called when the client goes away. */
function readBody(request: IncomingMessage, f: (body: string | null) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  let tooLarge = false;
  request.on("data", (chunk: Buffer) => {
    if (tooLarge) return;
    bytes += chunk.length;
    tooLarge = bytes > BODY_BYTES_MAX;
    if (tooLarge) f(null);
    else chunks.push(chunk);
  });
  request.on("end", () => {
    if (!tooLarge) f(Buffer.concat(chunks).toString("utf8"));
  });
}

function levelOf(body: string): string {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "string") return value;
    return typeof value === "object" && value !== null && "level" in value ? String(value.level) : "";
  } catch {
    return body.trim();
  }
}

function removeSocket(path: string): void {
  // Only what is a socket: a wrong path in the bootstrap must not delete a file.
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) unlinkSync(path);
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      // EMFILE while accepting: the next connection may fare better, and an event without a listener would end the process.
      server.on("error", () => {});
      resolve();
    });
    listen();
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
