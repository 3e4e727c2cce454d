import http from "node:http";
import { Refused } from "./service.ts";

/** Longest wait for an answer, milliseconds: above every timeout of policies.yaml, so that those decide. */
const ANSWER_MS = 10_000;

const agent = new http.Agent({ keepAlive: true });

/** Where a Service is, by the variables that Kubernetes gives every pod of its namespace, else by its DNS name. */
export function addressOf(service: string, port: number): { readonly host: string; readonly port: number } {
  const name = service.toUpperCase().replaceAll("-", "_");
  return { host: process.env[`${name}_SERVICE_HOST`] ?? service, port: Number(process.env[`${name}_SERVICE_PORT`] ?? port) };
}

export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: unknown;
}

/** A Service of the shop that we call. It is plain HTTP and never retries: both are the mesh's business. */
export class Upstream {
  private readonly service: string;
  private readonly port: number;

  /** `port` is that of the Service where no variable says it. */
  constructor(service: string, port: number) {
    this.service = service;
    this.port = port;
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<UpstreamAnswer> {
    return this.call("GET", path, undefined, headers);
  }

  post(path: string, body: unknown): Promise<UpstreamAnswer> {
    return this.call("POST", path, body, {});
  }

  /** What it answered, if below 500. Throws `Refused` 502 otherwise, and when it did not answer. */
  call(method: string, path: string, body: unknown, headers: Readonly<Record<string, string>>): Promise<UpstreamAnswer> {
    const payload = body === undefined ? "" : JSON.stringify(body);
    const { host, port } = addressOf(this.service, this.port);
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new Refused(502, `${this.service}: ${why}`));
      const framing = payload === "" ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) };
      const request = http.request(
        // The name that the mesh and the other side see is the Service's, whatever address leads to it.
        { agent, host, port, method, path, timeout: ANSWER_MS, headers: { host: `${this.service}:${this.port}`, ...framing, ...headers } },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", (error) => fail(error.message));
          response.on("end", () => {
            const status = response.statusCode ?? 0;
            const text = Buffer.concat(chunks).toString("utf8");
            if (status >= 500) return fail(`${status} ${text.trim().slice(0, 200)}`);
            resolve({ status, headers: response.headers, body: parse(text) });
          });
        },
      );
      request.on("timeout", () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
      request.on("error", (error) => fail(error.message));
      request.end(payload);
    });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
