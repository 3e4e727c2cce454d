import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import prom from "prom-client";
import { DURATION_BUCKETS_S, type LabelOf, METRICS, type MetricDefinition, type MetricName } from "#api/metrics.ts";
import type { Logger } from "./logger.ts";

type NamesOf<T extends MetricDefinition["type"]> = { [N in MetricName]: (typeof METRICS)[N]["type"] extends T ? N : never }[MetricName];
type Labels<N extends MetricName> = Readonly<Record<LabelOf<N>, string | number>>;

/**
 * The metrics of a control-plane binary, kept by prom-client. Names, help and labels come from `api/metrics.ts`;
 * using one that is not in `names` throws: that is our own bug.
 */
export class MetricsRegistry {
  readonly #registry = new prom.Registry();
  readonly #counters = new Map<MetricName, prom.Counter>();
  readonly #gauges = new Map<MetricName, prom.Gauge>();
  readonly #histograms = new Map<MetricName, prom.Histogram>();
  readonly #beforeScrape: (() => void)[] = [];

  constructor(names: readonly MetricName[]) {
    for (const name of names) {
      const { type, help, labels }: MetricDefinition = METRICS[name];
      const config = { name, help, labelNames: [...labels], registers: [this.#registry] };
      if (type === "counter") this.#counters.set(name, new prom.Counter(config));
      else if (type === "gauge") this.#gauges.set(name, new prom.Gauge(config));
      else this.#histograms.set(name, new prom.Histogram({ ...config, buckets: [...DURATION_BUCKETS_S] }));
    }
  }

  add<N extends NamesOf<"counter">>(name: N, labels: Labels<N>, by = 1): void {
    known(this.#counters, name).inc(labels, by);
  }

  set<N extends NamesOf<"gauge">>(name: N, labels: Labels<N>, value: number): void {
    known(this.#gauges, name).set(labels, value);
  }

  /** In the metric's unit, which its name ends in. */
  observe<N extends NamesOf<"histogram">>(name: N, labels: Labels<N>, value: number): void {
    known(this.#histograms, name).observe(labels, value);
  }

  /** Calls `f` before each scrape, to set gauges that are cheaper to read than to follow. */
  onScrape(f: () => void): void {
    this.#beforeScrape.push(f);
  }

  /** Prometheus text exposition. */
  async text(): Promise<string> {
    for (const f of this.#beforeScrape) f();
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
}

export interface AdminServerOptions {
  readonly address: string;
  /** 0: any free port. */
  readonly port: number;
  readonly metrics: MetricsRegistry;
  /** Why it is not ready; null when it is. */
  readonly notReady: () => string | null;
  readonly logger: Logger;
}

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Serves GET /metrics, /livez and /readyz, and nothing else. Rejects when it cannot listen. */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer(
    { maxHeaderSize: 16 * 1024, requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 30_000 },
    (request, response) => {
      const answer = (status: number, type: string, body: string): void => {
        response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(request.method === "HEAD" ? undefined : body);
      };
      // Whatever body came is not read.
      request.resume();
      if (request.method !== "GET" && request.method !== "HEAD") return answer(405, "text/plain", "GET only\n");
      const path = (request.url ?? "").split("?", 1)[0];
      if (path === "/livez") return answer(200, "text/plain", "ok\n");
      if (path === "/readyz") {
        const reason = options.notReady();
        return answer(reason === null ? 200 : 503, "text/plain", `${reason ?? "ok"}\n`);
      }
      if (path !== "/metrics") return answer(404, "text/plain", "/metrics /livez /readyz\n");
      options.metrics.text().then(
        (text) => answer(200, options.metrics.contentType, text),
        (error: Error) => {
          options.logger.error("metrics cannot be written", { error: error.message });
          answer(500, "text/plain", "see the log\n");
        },
      );
    },
  );
  server.maxConnections = 100;
  await listen(server, options.address, options.port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, address: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function known<T>(metrics: ReadonlyMap<MetricName, T>, name: MetricName): T {
  const metric = metrics.get(name);
  if (metric === undefined) throw new Error(`metric ${name} is not registered in this binary`);
  return metric;
}
