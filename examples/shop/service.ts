import http, { type IncomingMessage, type ServerResponse } from "node:http";
import os from "node:os";

/** Largest request body that a service of the shop reads, bytes. */
const BODY_BYTES_MAX = 64 * 1024;

export interface Call {
  readonly method: string;
  /** Decoded segments of the path: "/products/p1" is ["products", "p1"]. */
  readonly path: readonly string[];
  readonly request: IncomingMessage;
  /** The body as JSON; undefined when there is none. */
  readonly body: unknown;
}

export interface Answer {
  readonly status: number;
  /** Sent as JSON, or as it is when it is a string. */
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer that ends the handling of a call from wherever it is thrown. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The name of the pod that we are, for `x-served-by`. */
export const POD = process.env["POD_NAME"] ?? os.hostname();

/**
 * Serves `handle` on HOST and PORT, by default all addresses and `port`. `GET /healthz` is answered here. On SIGTERM
 * it takes no more connections, answers what it has and ends.
 */
export function serve(port: number, handle: (call: Call) => Promise<Answer> | Answer): void {
  const server = http.createServer((request, response) => void answer(request, response, handle));
  // A proxy in front of us keeps connections; we must not close one that it is about to use.
  server.keepAliveTimeout = 75_000;
  const host = process.env["HOST"] ?? "0.0.0.0";
  server.listen(Number(process.env["PORT"] ?? port), host, () => say(`listening on ${host}:${process.env["PORT"] ?? port}`));
  process.once("SIGTERM", () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

export function say(text: string): void {
  process.stdout.write(`${new Date().toISOString()} ${POD} ${text}\n`);
}

async function answer(request: IncomingMessage, response: ServerResponse, handle: (call: Call) => Promise<Answer> | Answer): Promise<void> {
  let reply: Answer;
  try {
    const path = segments(request.url ?? "/");
    const method = request.method ?? "GET";
    reply =
      path[0] === "healthz" ? { status: 200, body: { ok: true } } : await handle({ method, path, request, body: await readJson(request) });
  } catch (error) {
    const status = error instanceof Refused ? error.status : 500;
    const message = error instanceof Error ? error.message : String(error);
    if (status >= 500) say(`${request.method} ${request.url}: ${status} ${message}`);
    reply = { status, body: { error: message } };
  }
  const isText = typeof reply.body === "string";
  const payload = Buffer.from(isText ? (reply.body as string) : `${JSON.stringify(reply.body)}\n`);
  response.writeHead(reply.status, {
    "content-type": isText ? "text/html; charset=utf-8" : "application/json",
    "content-length": payload.length,
    "x-served-by": POD,
    ...reply.headers,
  });
  response.end(request.method === "HEAD" ? undefined : payload);
}

function segments(target: string): string[] {
  try {
    const { pathname } = new URL(target, "http://shop");
    return pathname
      .split("/")
      .filter((s) => s !== "")
      .map(decodeURIComponent);
  } catch {
    throw new Refused(400, "the path cannot be read");
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Refused(413, `the body is larger than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
}
