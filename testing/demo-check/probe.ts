import http from "node:http";
import { must } from "./wait.ts";

/** Where the probe apps listen for what to do, on their app address: beside the mesh, not through it. */
const PROBE_PORT = 9000;

export interface LoadOrder {
  /** Name of the Service; the probe finds it by NAME_SERVICE_HOST. */
  readonly service: string;
  /** Paths, taken in turn. */
  readonly paths: readonly string[];
  /** Requests a second, sent when due, whether or not the last was answered. */
  readonly rate: number;
  /** Ends by itself after so many; 0: with `finish` only. */
  readonly count?: number;
  /** Every nth request is a POST of `body` to `postPath`; 0: none. */
  readonly postEvery?: number;
  readonly postPath?: string;
  readonly body?: unknown;
}

export interface LoadSummary {
  readonly started: number;
  readonly finished: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** By x-reviews-version of the answer. */
  readonly versions: Readonly<Record<string, number>>;
  /** Monotonic moment at which the last request was sent that this version answered. */
  readonly lastStartMs: Readonly<Record<string, number>>;
  /** No answer, or a status of 500 and above. The first thousand. */
  readonly failures: readonly { readonly startedMs: number; readonly method: string; readonly path: string; readonly why: string }[];
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface TcpAnswer {
  readonly received: string;
  /** How it ended: "" when it was still open, else "end" or the error. */
  readonly ended: string;
}

export interface BulkAnswer {
  readonly bytes: number;
  readonly pausedMs: number;
  readonly readingMs: number;
}

/** A client in the mesh that does what it is told. */
export class Probe {
  private readonly address: string;
  private static ids = 0;

  constructor(appAddress: string) {
    this.address = appAddress;
  }

  /** Starts sending. */
  async load(order: LoadOrder): Promise<Load> {
    const id = `load-${++Probe.ids}`;
    await this.ask("POST", `/load/${id}`, order);
    return new Load((method) => this.ask(method, `/load/${id}`) as Promise<LoadSummary>);
  }

  /** One TCP connection: sends `send` and waits for `expectBytes`, the end, or `withinMs`. */
  tcp(service: string, send: string, expectBytes: number, withinMs: number): Promise<TcpAnswer> {
    return this.ask("POST", "/tcp", { service, send, expectBytes, withinMs }) as Promise<TcpAnswer>;
  }

  /** Asks for `bytes`, does not read for `pauseMs`, then reads at `bytesPerSecond` (0: as fast as they come). */
  bulk(order: { service: string; protocol: "http" | "tcp"; bytes: number; pauseMs: number; bytesPerSecond: number }): Promise<BulkAnswer> {
    return this.ask("POST", "/bulk", order, 120_000) as Promise<BulkAnswer>;
  }

  private ask(method: string, path: string, body?: unknown, withinMs = 30_000): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? "" : JSON.stringify(body);
      const request = http.request(
        {
          host: this.address,
          port: PROBE_PORT,
          method,
          path,
          agent: false,
          timeout: withinMs,
          headers: { "content-length": payload.length },
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8").on("data", (part: string) => (text += part));
          response.on("error", reject);
          response.on("end", () => (response.statusCode === 200 ? resolve(JSON.parse(text)) : reject(new Error(`probe: ${text}`))));
        },
      );
      request.on("timeout", () => request.destroy(new Error(`the probe did not answer ${method} ${path}`)));
      request.on("error", reject);
      request.end(payload);
    });
  }
}

/** Requests under way. */
export class Load {
  private readonly ask: (method: string) => Promise<LoadSummary>;

  constructor(ask: (method: string) => Promise<LoadSummary>) {
    this.ask = ask;
  }

  now(): Promise<LoadSummary> {
    return this.ask("GET");
  }

  /** Stops sending, waits for what is under way, and says what came of all. */
  finish(): Promise<LoadSummary> {
    return this.ask("DELETE");
  }
}

/** Throws unless every request was answered and none failed. */
export function mustBeFlawless(what: string, summary: LoadSummary): void {
  const [first] = summary.failures;
  const example = first === undefined ? "" : `, the first: ${first.method} ${first.path}: ${first.why}`;
  must(summary.failed === 0, `${what}: ${summary.failed} of ${summary.started} requests failed${example}`);
  must(
    summary.started > 0 && summary.finished === summary.started,
    `${what}: ${summary.finished} of ${summary.started} requests were answered`,
  );
}
