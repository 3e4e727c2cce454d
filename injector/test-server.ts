import https from "node:https";
import tls from "node:tls";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/logger.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import type { CertificateSource, ServingCertificate } from "./certificates.ts";
import { INJECTOR_METRICS, type Limits, WebhookServer } from "./server.ts";
import { SETTINGS } from "./test-settings.ts";

/** Certificates that a test hands out. */
export class GivenCertificates implements CertificateSource {
  give: (certificate: ServingCertificate) => void = () => {};
  refuse: (why: string) => void = () => {};
  readonly #first: ServingCertificate | null;

  constructor(first: ServingCertificate | null) {
    this.#first = first;
  }

  start(onCertificate: (certificate: ServingCertificate) => void, onRefused: (why: string) => void): void {
    this.give = onCertificate;
    this.refuse = onRefused;
    if (this.#first !== null) onCertificate(this.#first);
  }

  close(): void {}
}

export interface TestServer {
  readonly server: WebhookServer;
  readonly certificates: GivenCertificates;
  readonly lines: Record<string, unknown>[];
  metrics(): Promise<string>;
}

export async function startServer(certificate: ServingCertificate, limits: Partial<Limits> = {}): Promise<TestServer> {
  const clock = new SystemClock();
  const lines: Record<string, unknown>[] = [];
  const metrics = new MetricsRegistry(INJECTOR_METRICS);
  const certificates = new GivenCertificates(certificate);
  const server = new WebhookServer({
    address: "127.0.0.1",
    port: 0,
    certificates,
    settings: () => SETTINGS,
    systemNamespace: SETTINGS.systemNamespace,
    metrics,
    clock,
    logger: createLogger((line) => lines.push(JSON.parse(line) as Record<string, unknown>), clock, "debug"),
    limits,
  });
  await server.start();
  return { server, certificates, lines, metrics: () => metrics.text() };
}

export interface Reply {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** One POST over TLS that trusts `ca` alone; rejects when there is no answer. */
export function post(
  port: number,
  ca: string,
  path: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string | number>> = {},
  agent: https.Agent | false = false,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      { host: "127.0.0.1", port, path, method: "POST", ca, agent, headers: { "content-type": "application/json", ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8"), headers: response.headers }),
        );
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end(body);
  });
}

/** A TLS connection on which a test writes what it likes. */
export function connect(port: number, ca: string): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: "127.0.0.1", port, ca }, () => resolve(socket));
    socket.on("error", reject);
  });
}

/** Everything until the other side ends the connection. */
export function untilEnd(socket: tls.TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => resolve(text));
    socket.on("close", () => resolve(text));
  });
}
