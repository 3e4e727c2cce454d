import http from "node:http";
import type { Clock } from "#api/clock.ts";
import { PORTS } from "#api/ports.ts";
import { type Edge, EdgeBook } from "./edges.ts";
import { parseExposition } from "./exposition.ts";
import type { PodProcesses } from "./pod.ts";

/** Longest wait for one sidecar's metrics, milliseconds. */
const SCRAPE_MS = 2000;
/** Largest exposition read, bytes. */
const SCRAPE_BYTES_MAX = 16 * 1024 * 1024;
const WANTED = /^(http_client_request_duration_seconds_(count|bucket)|weft_tcp_)/;

/** Reads every sidecar's /metrics and keeps the edges. */
export class Scraper {
  private readonly book = new EdgeBook();
  private readonly known = new Set<string>();
  private readonly clock: Clock;
  private readonly pods: () => readonly PodProcesses[];
  private lastMs = Number.NEGATIVE_INFINITY;
  private running: Promise<readonly Edge[]> | null = null;
  private latest: readonly Edge[] = [];

  constructor(clock: Clock, pods: () => readonly PodProcesses[]) {
    this.clock = clock;
    this.pods = pods;
  }

  /** The edges, from a scrape not older than `maxAgeMs`. Rounds never overlap. */
  edges(maxAgeMs: number): Promise<readonly Edge[]> {
    if (this.clock.monotonicMs() - this.lastMs < maxAgeMs) return Promise.resolve(this.latest);
    this.running ??= this.round().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  private async round(): Promise<readonly Edge[]> {
    const pods = this.pods();
    const names = new Set(pods.map((p) => p.name));
    for (const gone of [...this.known].filter((name) => !names.has(name))) {
      this.book.forget(gone);
      this.known.delete(gone);
    }
    await Promise.all(
      pods.map(async (pod) => {
        const text = await scrape(pod.options.podAddress);
        if (text === null) return;
        this.known.add(pod.name);
        this.book.observe(
          pod.name,
          workload(pod),
          parseExposition(text, (name) => WANTED.test(name)),
        );
      }),
    );
    this.lastMs = this.clock.monotonicMs();
    this.latest = this.book.edges(this.lastMs);
    return this.latest;
  }
}

/** "namespace/name" of what the pod belongs to: its app label, else its own name without the index. */
function workload(pod: PodProcesses): string {
  const { namespace = "default", name, labels = {} } = pod.options.pod.metadata;
  return `${namespace}/${labels["app.kubernetes.io/name"] ?? labels["app"] ?? name.replace(/-\d+$/, "")}`;
}

function scrape(address: string): Promise<string | null> {
  return new Promise((resolve) => {
    const request = http.get({ host: address, port: PORTS.proxyAdmin, path: "/metrics", agent: false, timeout: SCRAPE_MS }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > SCRAPE_BYTES_MAX) request.destroy();
        else chunks.push(chunk);
      });
      response.on("end", () => resolve(response.statusCode === 200 ? Buffer.concat(chunks).toString("utf8") : null));
      response.on("error", () => resolve(null));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(null));
    request.on("close", () => resolve(null));
  });
}
