import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { fastify, type FastifyInstance, type FastifyRequest } from "fastify";
import type { Clock } from "#api/clock.ts";
import type { MetricName } from "#api/metrics.ts";
import { INJECT_LABEL } from "#api/sidecar.ts";
import type { Logger } from "#runtime/logger.ts";
import type { MetricsRegistry } from "#runtime/metrics-server.ts";
import { BodyBudget, BodyError } from "./body.ts";
import type { CertificateSource, ServingCertificate } from "./certificates.ts";
import { mutate } from "./mutate.ts";
import { record, text } from "./pod.ts";
import { answerOf, kindLabel, readReview, type ReviewRequest, type Verdict } from "./review.ts";
import type { InjectionSettings } from "./settings.ts";
import { validate } from "./validate.ts";

export const INJECTOR_METRICS: readonly MetricName[] = [
  "weft_injector_reviews_total",
  "weft_injector_review_duration_seconds",
  "weft_injector_certificate_expiry_timestamp_seconds",
  "weft_injector_certificate_reloads_total",
];

/** What one caller, and all of them together, may take of the injector. None of these is a setting. */
export interface Limits {
  /** etcd refuses objects above 1.5 MiB, a review carries an old and a new one, and JSON escapes: 7 MiB is room for all. */
  readonly bodyBytesMax: number;
  /** Of all bodies being received. */
  readonly bodiesBytesMax: number;
  /** For the whole request to arrive; the API server itself waits 10 s at most unless told otherwise. */
  readonly requestMs: number;
  readonly handshakeMs: number;
  readonly connectionsMax: number;
  /** How often connections are looked at for their time being up. */
  readonly checkMs: number;
}

const MIB = 1024 * 1024;
const LIMITS: Limits = {
  bodyBytesMax: 7 * MIB,
  bodiesBytesMax: 64 * MIB,
  requestMs: 10_000,
  handshakeMs: 5_000,
  connectionsMax: 512,
  checkMs: 1_000,
};

/** Above the 90 s that the API server keeps an idle connection: it, not we, closes it, so none is closed under a request. */
const KEEP_ALIVE_MS = 120_000;
const TLS_VERSION = "TLSv1.3";

export interface WebhookServerOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly certificates: CertificateSource;
  /** What new sidecars are made from; null while something is missing. Asked at each review. */
  readonly settings: () => InjectionSettings | null;
  readonly systemNamespace: string;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Others than the real ones, for tests. */
  readonly limits?: Partial<Limits>;
}

type Answer = (request: ReviewRequest) => Verdict;

/**
 * The webhooks. Which labels the namespace has is told by the path: the API server matches namespaceSelector and
 * objectSelector itself, on what is stored, so that no copy of the namespaces has to be kept here that could be old.
 *
 * - `/mutate` and `/validate`: called for namespaces with `weft.dev/inject: enabled` (and for Weft's own kinds).
 * - `/mutate/pod-label` and `/validate/pod-label`: called for pods that have the label themselves, in any other namespace.
 */
export class WebhookServer {
  readonly #options: WebhookServerOptions;
  readonly #limits: Limits;
  readonly #budget: BodyBudget;
  readonly #app: FastifyInstance<Server>;
  #serving: ServingCertificate | null = null;
  #draining = false;

  constructor(options: WebhookServerOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#budget = new BodyBudget(this.#limits.bodiesBytesMax);
    this.#app = this.#create();
  }

  /** Resolves when it listens, which is after the first certificate; rejects when it cannot. */
  start(): Promise<void> {
    const { certificates, address, port, logger, metrics } = this.#options;
    return new Promise((resolve, reject) => {
      certificates.start(
        (certificate) => {
          const first = this.#serving === null;
          this.#take(certificate);
          if (first) this.#app.listen({ host: address, port }).then(() => resolve(), reject);
        },
        (why) => {
          metrics.add("weft_injector_certificate_reloads_total", { outcome: "refused" });
          logger.warn("no new serving certificate; one in use stays in use", { code: "WEFT_INJECTOR_NOT_READY", why });
        },
      );
    });
  }

  get port(): number {
    return (this.#app.server.address() as AddressInfo).port;
  }

  /** Null while it can serve. */
  notReady(): string | null {
    if (this.#draining) return "stopping";
    if (this.#serving === null) return "no serving certificate yet";
    return this.#serving.notAfterMs > this.#options.clock.wallMs() ? null : "the serving certificate has expired";
  }

  /** From now on each answer ends its connection, so that callers go to other replicas. */
  drain(): void {
    this.#draining = true;
  }

  /** Closes the port and all connections. */
  async close(): Promise<void> {
    this.#options.certificates.close();
    await this.#app.close();
  }

  /** New connections get the new certificate; those that are open stay as they are. */
  #take(certificate: ServingCertificate): void {
    const { logger, metrics } = this.#options;
    this.#app.server.setSecureContext({ cert: certificate.certPem, key: certificate.keyPem, minVersion: TLS_VERSION });
    this.#serving = certificate;
    metrics.add("weft_injector_certificate_reloads_total", { outcome: "taken" });
    metrics.set("weft_injector_certificate_expiry_timestamp_seconds", {}, certificate.notAfterMs / 1000);
    logger.info("serving certificate in use", { notAfter: new Date(certificate.notAfterMs).toISOString() });
  }

  #create(): FastifyInstance<Server> {
    const { requestMs, handshakeMs, connectionsMax, checkMs, bodyBytesMax } = this.#limits;
    const app = fastify({
      // HTTP/1.1 only: the API server speaks it, and HTTP/2 brings ways to ask for work that we need not defend.
      https: {
        minVersion: TLS_VERSION,
        ALPNProtocols: ["http/1.1"],
        handshakeTimeout: handshakeMs,
        headersTimeout: Math.min(requestMs, 5_000),
        connectionsCheckingInterval: checkMs,
        maxHeaderSize: 16 * 1024,
      },
      requestTimeout: requestMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      bodyLimit: bodyBytesMax,
      forceCloseConnections: true,
      return503OnClosing: false,
      exposeHeadRoutes: false,
    });
    app.server.maxConnections = connectionsMax;
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("application/json", (request: FastifyRequest, payload: FastifyRequest["raw"]) => {
      refuseEarly(request, bodyBytesMax);
      return this.#budget.read(payload, bodyBytesMax);
    });
    app.addHook("onSend", async (_request, reply) => {
      if (this.#draining || reply.statusCode >= 400) reply.header("connection", "close");
    });
    app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
      const { statusCode = 500 } = error;
      this.#refused(request, statusCode, error);
      return reply
        .code(statusCode)
        .send({ error: statusCode < 500 || error instanceof BodyError ? error.message : "see the injector's log" });
    });
    app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: "POST /mutate or /validate" }));
    for (const [suffix, labels] of [
      ["", { [INJECT_LABEL]: "enabled" }],
      ["/pod-label", {}],
    ] as const) {
      const { systemNamespace, settings } = this.#options;
      this.#route(app, `/mutate${suffix}`, (request) => mutate(request, labels, systemNamespace, settings()));
      this.#route(app, `/validate${suffix}`, (request) => validate(request, labels, systemNamespace));
    }
    return app as unknown as FastifyInstance<Server>;
  }

  #route(app: { post: FastifyInstance["post"] }, path: string, answer: Answer): void {
    const { clock, metrics } = this.#options;
    app.post(path, async (http) => {
      const startedMs = clock.monotonicMs();
      const request = readReview(http.body instanceof Uint8Array ? http.body : new Uint8Array());
      if ("problem" in request) throw new BodyError(400, request.problem);
      const verdict = answer(request);
      const kind = kindLabel(request.kind.kind);
      metrics.add("weft_injector_reviews_total", { kind, outcome: verdict.outcome });
      metrics.observe("weft_injector_review_duration_seconds", { kind }, (clock.monotonicMs() - startedMs) / 1000);
      this.#log(path, request, verdict);
      return answerOf(request.uid, verdict);
    });
  }

  #log(path: string, request: ReviewRequest, { allowed, outcome, code, message, warnings }: Verdict): void {
    const { kind, namespace, name, object, uid } = request;
    const metadata = record(object["metadata"]);
    this.#options.logger[allowed ? "info" : "warn"](`review: ${outcome}`, {
      code,
      path,
      kind: kind.kind,
      object: `${namespace}/${name || text(metadata["name"]) || text(metadata["generateName"])}`,
      detail: message,
      warning: warnings?.[0],
      uid,
    });
  }

  /** A request that is no review: nobody but the API server should be here, so it is worth a line. */
  #refused(request: FastifyRequest, status: number, error: Error): void {
    const { logger, metrics } = this.#options;
    const outcome = status === 503 ? "overloaded" : status >= 500 ? "failed" : "malformed";
    metrics.add("weft_injector_reviews_total", { kind: "other", outcome });
    const fields = { code: "WEFT_BAD_REVIEW", status, path: request.url, peer: request.ip };
    if (outcome === "failed") logger.error("a review failed", { ...fields, error: error.stack ?? error.message });
    else logger.warn("no review", { ...fields, error: error.message });
  }
}

/** What can be told from the head, before a byte of the body is waited for. */
function refuseEarly({ headers }: FastifyRequest, bytesMax: number): void {
  if ((headers["content-encoding"] ?? "identity") !== "identity") throw new BodyError(415, "a compressed review is not read");
  if (Number(headers["content-length"] ?? 0) > bytesMax) throw new BodyError(413, `a review of more than ${bytesMax} bytes is not read`);
}
