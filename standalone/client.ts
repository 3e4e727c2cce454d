import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import type { Clock } from "#api/clock.ts";
import { describe } from "#api/errors.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Attested, Attestor, ObjectRef, Source, SourceEvents, StatusWriter } from "#api/store.ts";
import { isObject } from "./schema.ts";

export const CONTROL_SOCKET = "control.sock";
/** Longest line of the watch stream, characters: one object. */
const LINE_CHARS_MAX = 16 * 1024 * 1024;
/** Largest answer to one request, bytes. */
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;
const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 1000;

export interface ControlResponse {
  readonly status: number;
  readonly body: unknown;
}

/** No `weft run` answers on the control socket of a state folder. */
export class NoRunError extends Error {
  constructor(state: string, cause: unknown) {
    super(describe("WEFT_NO_RUN", `no run answers in ${state}`), { cause });
  }
}

/** The socket of a run. It may be a link to a shorter path: the system takes 107 bytes only. */
export function controlSocket(state: string): string {
  const socket = path.join(state, CONTROL_SOCKET);
  try {
    return fs.realpathSync(socket);
  } catch {
    return socket;
  }
}

/** One request to the runner. Rejects with `NoRunError` when nobody listens. `timeoutMs` 0: wait as long as it takes. */
export function control(state: string, method: string, target: string, body?: unknown, timeoutMs = 10_000): Promise<ControlResponse> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
    const headers = {
      "content-type": typeof body === "string" ? "text/plain" : "application/json",
      "content-length": Buffer.byteLength(payload),
    };
    const request = http.request(
      { socketPath: controlSocket(state), method, path: target, headers, agent: false, timeout: timeoutMs },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > ANSWER_BYTES_MAX) request.destroy(new Error("the answer is too large"));
          else chunks.push(chunk);
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: parse(Buffer.concat(chunks).toString("utf8")) }));
        response.on("error", reject);
      },
    );
    request.on("timeout", () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.on("error", (error: NodeJS.ErrnoException) => {
      reject(["ENOENT", "ECONNREFUSED", "EACCES", "ENOTSOCK"].includes(error.code ?? "") ? new NoRunError(state, error) : error);
    });
    request.end(payload);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The runner's store as the operator sees resources. */
export class StandaloneSource implements Source {
  private readonly state: string;
  private readonly clock: Clock;
  private request: http.ClientRequest | null = null;
  private cancelRetry: (() => void) | null = null;
  private closed = false;
  private connected = false;
  private retryMs = RETRY_FIRST_MS;

  constructor(state: string, clock: Clock) {
    this.state = state;
    this.clock = clock;
  }

  start(events: SourceEvents): void {
    if (this.closed) return;
    let lost = false;
    const lose = (): void => {
      if (lost) return;
      lost = true;
      request.destroy();
      if (this.closed) return;
      if (this.connected) events.onConnected(false);
      this.connected = false;
      this.cancelRetry = this.clock.after(this.retryMs, () => this.start(events));
      this.retryMs = Math.min(RETRY_LAST_MS, this.retryMs * 2);
    };
    const request = http.request({ socketPath: controlSocket(this.state), path: "/v1/watch", agent: false }, (response) => {
      if (response.statusCode !== 200) return lose();
      const reader = new WatchReader({
        onSync: (objects, revision) => {
          if (lost || this.closed) return;
          this.retryMs = RETRY_FIRST_MS;
          if (!this.connected) events.onConnected(true);
          this.connected = true;
          events.onSync(objects, revision);
        },
        onChange: (change) => {
          if (!lost && !this.closed) events.onChange(change);
        },
      });
      response.on("data", (chunk: Buffer) => {
        if (!lost && !reader.receive(chunk)) lose();
      });
      response.on("end", lose);
      response.on("error", lose);
      response.on("close", lose);
    });
    this.request = request;
    request.on("error", lose);
    request.end();
  }

  close(): void {
    this.closed = true;
    this.cancelRetry?.();
    this.request?.destroy();
  }
}

/** Reads the watch stream; bytes may be split anywhere. */
export class WatchReader {
  private readonly decoder = new TextDecoder("utf-8");
  private readonly events: Pick<SourceEvents, "onSync" | "onChange">;
  private rest: string[] = [];
  private restChars = 0;
  private pending: KubeObject[] | null = null;

  constructor(events: Pick<SourceEvents, "onSync" | "onChange">) {
    this.events = events;
  }

  /** False: the stream breaks its rules (a line too long or not ours) and cannot be read on. */
  receive(chunk: Uint8Array): boolean {
    const lines = this.decoder.decode(chunk, { stream: true }).split("\n");
    const last = lines.pop() ?? "";
    for (const line of lines) {
      const whole = this.rest.join("") + line;
      this.rest = [];
      this.restChars = 0;
      if (!this.line(whole)) return false;
    }
    this.rest.push(last);
    this.restChars += last.length;
    return this.restChars <= LINE_CHARS_MAX;
  }

  private line(line: string): boolean {
    const value = parse(line);
    if (!isObject(value)) return false;
    const object = value["object"] as KubeObject;
    switch (value["type"]) {
      case "begin":
        this.pending = [];
        return true;
      case "object":
        this.pending?.push(object);
        return true;
      case "sync":
        this.events.onSync(this.pending ?? [], typeof value["revision"] === "string" ? value["revision"] : undefined);
        this.pending = null;
        return true;
      case "applied":
      case "deleted":
        this.events.onChange({ type: value["type"], object });
        return true;
      default:
        // A newer runner may say more than we know.
        return true;
    }
  }
}

export class StandaloneStatusWriter implements StatusWriter {
  private readonly state: string;

  constructor(state: string) {
    this.state = state;
  }

  /** Rejects when the runner cannot be reached; an object that is gone is no error. */
  async write(ref: ObjectRef, status: unknown): Promise<void> {
    const { status: code, body } = await control(this.state, "PUT", "/v1/status", { ref, status });
    if (code !== 200) throw new Error(`the runner refused the status of ${ref.kind} ${ref.namespace}/${ref.name}: ${messageOf(body)}`);
  }
}

export class StandaloneAttestor implements Attestor {
  private readonly state: string;

  constructor(state: string) {
    this.state = state;
  }

  async attest(token: string): Promise<Attested | null> {
    const { status, body } = await control(this.state, "POST", "/v1/tokenreview", { token });
    if (status !== 200 || !isObject(body)) throw new Error(`the runner could not review a token: ${messageOf(body)}`);
    const { attested } = body;
    if (!isObject(attested)) return null;
    const [namespace, serviceAccount, pod, podUid] = ["namespace", "serviceAccount", "pod", "podUid"].map((f) => attested[f]);
    if (typeof namespace !== "string" || typeof serviceAccount !== "string" || typeof pod !== "string" || typeof podUid !== "string")
      return null;
    return { namespace, serviceAccount, pod, podUid };
  }
}

/** The `message` of an answer, or the answer itself. */
export function messageOf(body: unknown): string {
  return isObject(body) && typeof body["message"] === "string"
    ? body["message"]
    : String(typeof body === "string" ? body : JSON.stringify(body));
}
