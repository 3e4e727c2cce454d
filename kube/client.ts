import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { Clock } from "#api/clock.ts";
import { VERSION } from "#api/version.ts";
import type { Credentials, Proof } from "./credentials.ts";
import { asKubeError, errorOf, KubeError, SilentConnection } from "./kube-error.ts";
import type { ClusterAccess } from "./kubeconfig.ts";
import { LineSplitter } from "./lines.ts";

export interface KubeRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of the body; default application/json. */
  readonly contentType?: string;
  /** Ends the request and its socket; it then rejects. */
  readonly signal?: AbortSignal;
  /** Longest time without a byte from the server, milliseconds; default IDLE_MS. */
  readonly idleMs?: number;
}

export interface KubeResponse {
  readonly status: number;
  /** Parsed JSON; null for an empty body. */
  readonly body: unknown;
}

/** Longest silence during an ordinary request, milliseconds. The server's own limit is 60 s. */
export const IDLE_MS = 65_000;
/** Most bytes of one answer: a page of 500 objects, most of them far below etcd's 1.5 MiB. */
const BODY_BYTES_MAX = 512 * 1024 * 1024;
/** Bytes of an error that are read. */
const ERROR_BYTES_MAX = 64 * 1024;
/** An idle connection is kept this long for the next request, milliseconds; the server closes after 90 s. */
const KEEP_ALIVE_MS = 55_000;
/** TCP probes on idle connections, milliseconds. */
const TCP_KEEP_ALIVE_MS = 15_000;

/** Speaks to one API server: HTTP/1.1, JSON, kept-alive connections. A 401 is tried once more with what the credential's file or plugin says then. */
export class KubeClient {
  readonly access: ClusterAccess;
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #agent: http.Agent;

  constructor(access: ClusterAccess, credentials: Credentials, clock: Clock) {
    this.access = access;
    this.#credentials = credentials;
    this.#clock = clock;
    const options = { keepAlive: true, keepAliveMsecs: TCP_KEEP_ALIVE_MS, timeout: KEEP_ALIVE_MS, maxFreeSockets: 8 };
    this.#agent = access.server.startsWith("https:") ? new https.Agent(options) : new http.Agent(options);
  }

  /** Ends all connections; requests under way reject. */
  close(): void {
    this.#agent.destroy();
  }

  /** The answer of a 2xx. Rejects with KubeError for everything else. */
  async request(request: KubeRequest): Promise<KubeResponse> {
    const response = await this.#open(request);
    const text = await this.#text(response, request, BODY_BYTES_MAX);
    if (text === "") return { status: response.statusCode ?? 0, body: null };
    try {
      return { status: response.statusCode ?? 0, body: JSON.parse(text) as unknown };
    } catch {
      throw new KubeError("the answer is no JSON");
    }
  }

  /**
   * Calls `onOpen` when the answer begins, then `onLine` for every line, until it ends. Resolves when the server ended it after a whole line;
   * rejects with KubeError for a refusal, a reset, silence, half a line or `signal`.
   */
  async lines(request: KubeRequest, onOpen: () => void, onLine: (line: string) => void): Promise<void> {
    const response = await this.#open(request);
    onOpen();
    const splitter = new LineSplitter();
    await this.#read(response, request, (chunk) => {
      const lines = splitter.push(chunk);
      if (lines === null) throw new KubeError("a line of the watch is too long");
      for (const line of lines) onLine(line);
    });
    if (splitter.held > 0) throw new KubeError("the watch ended within a line");
  }

  async #open(request: KubeRequest): Promise<IncomingMessage> {
    let response = await this.#sendAgain(request, await this.#credentials.proof());
    if (response.statusCode === 401) {
      response.destroy();
      this.#credentials.expire();
      response = await this.#sendAgain(request, await this.#credentials.proof());
    }
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const text = await this.#text(response, request, ERROR_BYTES_MAX);
    throw errorOf(status, parsed(text), response.headers["retry-after"]);
  }

  /** Once more when a kept-alive connection turned out to be closed, for what may be done twice (RFC 9110 §9.2.2; a server-side apply as well). */
  async #sendAgain(request: KubeRequest, proof: Proof): Promise<IncomingMessage> {
    try {
      return await this.#send(request, proof);
    } catch (error) {
      if (!(error instanceof StaleConnection) || request.method === "POST") throw error;
      return this.#send(request, proof);
    }
  }

  #send(request: KubeRequest, proof: Proof): Promise<IncomingMessage> {
    const { method, path, query = {}, signal } = request;
    const search = new URLSearchParams(query).toString();
    const url = new URL(`${this.access.server}${path}${search === "" ? "" : `?${search}`}`);
    const body = request.body === undefined ? null : Buffer.from(JSON.stringify(request.body));
    const options: https.RequestOptions = {
      method,
      agent: this.#agent,
      headers: {
        accept: "application/json",
        "user-agent": `weft/${VERSION}`,
        ...(proof.authorization === "" ? {} : { authorization: proof.authorization }),
        ...(body === null ? {} : { "content-type": request.contentType ?? "application/json", "content-length": body.length }),
      },
      ...(proof.ca === undefined ? {} : { ca: proof.ca }),
      ...(proof.certificate === undefined ? {} : { cert: proof.certificate }),
      ...(proof.key === undefined ? {} : { key: proof.key }),
      ...(this.access.tlsServerName === "" ? {} : { servername: this.access.tlsServerName }),
      ...(this.access.insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
    };
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(new KubeError("ended by the caller"));
      const sent = (url.protocol === "https:" ? https : http).request(url, options);
      const stopIdle = this.#clock.after(request.idleMs ?? IDLE_MS, () =>
        sent.destroy(new KubeError("the API server did not answer in time")),
      );
      const abort = (): void => void sent.destroy(new KubeError("ended by the caller"));
      signal?.addEventListener("abort", abort, { once: true });
      const done = (): void => {
        stopIdle();
        signal?.removeEventListener("abort", abort);
      };
      sent.once("response", (response) => {
        done();
        resolve(response);
      });
      // Stays: a socket may fail again after the answer's head, which the reader of the body sees as well.
      sent.on("error", (error) => {
        done();
        const stale = sent.reusedSocket && ["ECONNRESET", "EPIPE"].includes((error as NodeJS.ErrnoException).code ?? "");
        reject(stale ? new StaleConnection(error.message) : asKubeError(error));
      });
      sent.end(body ?? undefined);
    });
  }

  async #text(response: IncomingMessage, request: KubeRequest, bytesMax: number): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    await this.#read(response, request, (chunk) => {
      length += chunk.length;
      if (length > bytesMax) throw new KubeError("the answer is too long", response.statusCode);
      chunks.push(chunk);
    });
    return Buffer.concat(chunks).toString("utf8");
  }

  /** Reads to the end. Whatever ends it early (a throw of `onChunk` too) destroys the socket. */
  #read(response: IncomingMessage, { signal, idleMs = IDLE_MS }: KubeRequest, onChunk: (chunk: Buffer) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      let lastMs = this.#clock.monotonicMs();
      let stopIdle = (): void => {};
      let isDone = false;
      const done = (error: Error | null): void => {
        if (isDone) return;
        isDone = true;
        stopIdle();
        signal?.removeEventListener("abort", abort);
        if (error === null) resolve();
        else {
          reject(asKubeError(error));
          response.destroy();
        }
      };
      const abort = (): void => done(new KubeError("ended by the caller"));
      // One timer that looks when the last byte came, instead of one armed for each chunk.
      const watch = (inMs: number): void => {
        stopIdle = this.#clock.after(inMs, () => {
          const leftMs = lastMs + idleMs - this.#clock.monotonicMs();
          if (leftMs <= 0) done(new SilentConnection(`no byte came for ${Math.round(idleMs / 1000)} s`));
          else watch(leftMs);
        });
      };
      response.on("data", (chunk: Buffer) => {
        if (isDone) return;
        lastMs = this.#clock.monotonicMs();
        try {
          onChunk(chunk);
        } catch (error) {
          done(asKubeError(error));
        }
      });
      response.once("end", () => done(null));
      response.on("error", (error) => done(error));
      // "end" comes before it when all is well.
      response.once("close", () => done(new KubeError("the connection ended within the answer")));
      if (signal?.aborted === true) return abort();
      signal?.addEventListener("abort", abort, { once: true });
      watch(idleMs);
    });
  }
}

/** The server closed an idle connection just as it was taken for a request. */
class StaleConnection extends KubeError {}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
