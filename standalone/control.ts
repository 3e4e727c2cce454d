import fs from "node:fs";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { KubeObject } from "#api/resources/kube.ts";
import type { ObjectRef } from "#api/store.ts";
import { isObject } from "./schema.ts";
import type { ObjectStore } from "./store.ts";
import type { TokenBook } from "./tokens.ts";

/** Largest request body, bytes: a status or a token. */
const BODY_BYTES_MAX = 1024 * 1024;
/** A watcher that lags by so much is cut off; it comes back and syncs anew. Bytes. */
const WATCH_LAG_BYTES_MAX = 64 * 1024 * 1024;

/** What the control socket can do besides the store. */
export interface ControlActions {
  stop(target: string): Promise<ControlAnswer>;
  start(target: string): Promise<ControlAnswer>;
  state(): Promise<unknown>;
  /** Facts that a foreign client needs to use a token. */
  identityFacts(): { readonly operatorAddress: string; readonly trustDomain: string; readonly bundle: string };
  /** Path of the admin socket of a pod's sidecar; null: no such pod. */
  adminSocket(namespace: string, pod: string): string | null;
  onStatus(ref: ObjectRef, status: unknown): void;
}

export type ControlAnswer = { readonly ok: true; readonly message: string } | { readonly ok: false; readonly message: string };

class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The owner-only control socket: HTTP/1.1 on a unix socket of mode 0600 in a folder of mode 0700. */
export class ControlServer {
  private readonly server: http.Server;
  private readonly watchers = new Set<ServerResponse>();
  private readonly unsubscribe: () => void;
  private readonly store: ObjectStore;
  private readonly tokens: TokenBook;
  private readonly actions: ControlActions;

  constructor(store: ObjectStore, tokens: TokenBook, actions: ControlActions) {
    this.store = store;
    this.tokens = tokens;
    this.actions = actions;
    this.server = http.createServer((request, response) => void this.serve(request, response));
    this.server.requestTimeout = 0;
    this.unsubscribe = store.subscribe((change) => {
      const line = `${JSON.stringify(change)}\n`;
      for (const watcher of this.watchers) this.send(watcher, line);
    });
  }

  async listen(socketPath: string): Promise<void> {
    fs.rmSync(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(socketPath, () => resolve());
    });
    fs.chmodSync(socketPath, 0o600);
  }

  close(): void {
    this.unsubscribe();
    this.server.close();
    this.server.closeAllConnections();
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.route(request, response);
    } catch (error) {
      const status = error instanceof Refusal ? error.status : 500;
      if (!response.headersSent) answer(response, status, { message: error instanceof Error ? error.message : String(error) });
      else response.destroy();
    }
  }

  private async route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://control");
    const parts = url.pathname.split("/").slice(1);
    switch (`${request.method} ${url.pathname}`) {
      case "GET /v1/watch":
        return this.watch(response);
      case "GET /v1/objects":
        return answer(response, 200, { objects: this.objects(url.searchParams) });
      case "GET /v1/state":
        return answer(response, 200, await this.actions.state());
      case "PUT /v1/status":
        return this.putStatus(await readBody(request), response);
      case "POST /v1/tokenreview":
        return answer(response, 200, { attested: this.tokens.review(text(await readBody(request), "token")) });
      case "POST /v1/token":
        return this.issueToken(await readBody(request), response);
      case "POST /v1/stop":
        return answerAction(response, await this.actions.stop(text(await readBody(request), "target")));
      case "POST /v1/start":
        return answerAction(response, await this.actions.start(text(await readBody(request), "target")));
    }
    const [, pods, namespace = "", pod = "", what = ""] = parts;
    if (pods === "pods" && (what === "config" || what === "loglevel")) return this.relay(request, response, namespace, pod, what);
    throw new Refusal(404, `no such resource: ${request.method} ${url.pathname}`);
  }

  /** All objects, a `sync` line with the store's revision, then every change; one JSON object a line. */
  private watch(response: ServerResponse): void {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    this.send(response, `${JSON.stringify({ type: "begin" })}\n`);
    for (const object of this.store.list()) this.send(response, `${JSON.stringify({ type: "object", object })}\n`);
    this.send(response, `${JSON.stringify({ type: "sync", revision: this.store.revision })}\n`);
    this.watchers.add(response);
    response.once("close", () => this.watchers.delete(response));
  }

  private send(watcher: ServerResponse, line: string): void {
    if (watcher.writableLength > WATCH_LAG_BYTES_MAX) {
      this.watchers.delete(watcher);
      watcher.destroy();
    } else watcher.write(line);
  }

  private objects(query: URLSearchParams): KubeObject[] {
    const wanted = (value: string | undefined, name: string): boolean => !query.has(name) || query.get(name) === (value ?? "");
    return this.store
      .list()
      .filter((o) => wanted(o.kind, "kind") && wanted(o.metadata.namespace, "namespace") && wanted(o.metadata.name, "name"));
  }

  private putStatus(body: unknown, response: ServerResponse): void {
    const { ref, status } = isObject(body) ? body : {};
    if (!isObject(ref)) throw new Refusal(400, "ref is missing");
    const [kind, namespace, name, uid] = ["kind", "namespace", "name", "uid"].map((field) => text(ref, field));
    const target = { apiVersion: text(ref, "apiVersion"), kind: kind!, namespace: namespace!, name: name!, uid: uid! };
    const written = this.store.setStatus(target, status);
    if (written) this.actions.onStatus(target, status);
    answer(response, 200, { written });
  }

  private issueToken(body: unknown, response: ServerResponse): void {
    const [namespace = "", account = "", ...rest] = text(body, "serviceAccount").split("/");
    if (rest.length > 0 || ![namespace, account].every((n) => /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(n))) {
      throw new Refusal(400, "serviceAccount must be <namespace>/<service account>");
    }
    const token = this.tokens.forServiceAccount(namespace, account);
    if (token === null) throw new Refusal(429, "too many tokens are out; they expire after ten minutes");
    answer(response, 200, { token, ...this.actions.identityFacts() });
  }

  private relay(request: IncomingMessage, response: ServerResponse, namespace: string, pod: string, what: string): void {
    const socketPath = this.actions.adminSocket(namespace, pod);
    if (socketPath === null) throw new Refusal(404, `no such pod: ${namespace}/${pod}`);
    const headers = { "content-type": request.headers["content-type"] ?? "text/plain" };
    const upstream = http.request({ socketPath, path: `/${what}`, method: request.method ?? "GET", headers, timeout: 5000 }, (from) => {
      response.writeHead(from.statusCode ?? 502, { "content-type": from.headers["content-type"] ?? "text/plain" });
      from.pipe(response);
      from.once("error", () => response.destroy());
    });
    upstream.once("timeout", () => upstream.destroy(new Error("no answer within 5 s")));
    upstream.once("error", (error) => {
      if (response.headersSent) response.destroy();
      else answer(response, 502, { message: `the sidecar of ${namespace}/${pod} does not answer: ${error.message}` });
    });
    request.pipe(upstream);
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function answerAction(response: ServerResponse, result: ControlAnswer): void {
  answer(response, result.ok ? 200 : 404, { message: result.message });
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Refusal(413, `the body is larger than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw new Refusal(400, "the body is not JSON");
  }
}

function text(body: unknown, field: string): string {
  const value = isObject(body) ? body[field] : undefined;
  if (typeof value !== "string") throw new Refusal(400, `${field} is missing or not a string`);
  return value;
}
