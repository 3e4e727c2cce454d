import { exact, type Series } from "./exposition.ts";

/** Who calls whom, as one sidecar's outbound metrics say it, over the last seconds. */
export interface Edge {
  /** "namespace/workload" of the caller. */
  readonly from: string;
  /** "service", or "service.namespace" across namespaces. */
  readonly to: string;
  readonly port: string;
  readonly subset: string;
  readonly protocol: "http" | "tcp";
  readonly tls: string;
  /** SPIFFE ids that answered. */
  readonly peers: readonly string[];
  /** Requests (HTTP) or connections (TCP) a second. */
  readonly rate: number;
  /** Part that did not fail, 0 to 1; null: nothing happened. HTTP: no error and no 5xx. TCP: established. */
  readonly success: number | null;
  /** Seconds; null without requests, and for TCP. */
  readonly p50: number | null;
  readonly p99: number | null;
  /** Requests or connections since the start. */
  readonly total: number;
  readonly openConnections: number;
  /** Both directions, since the start. */
  readonly bytes: number;
  readonly method: string;
  readonly lastStatus: string;
}

/** What adds up, by edge. */
interface Sums {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  readonly subset: string;
  readonly protocol: "http" | "tcp";
  tls: string;
  readonly peers: Set<string>;
  total: number;
  failed: number;
  readonly buckets: Map<number, number>;
  bytes: number;
  open: number;
  method: string;
  lastStatus: string;
}

interface Snapshot {
  readonly atMs: number;
  readonly sums: ReadonlyMap<string, { total: number; failed: number; buckets: ReadonlyMap<number, number> }>;
}

/** Window over which rates and percentiles are told, milliseconds. */
const WINDOW_MS = 10_000;
const DURATION = "http_client_request_duration_seconds";

/** Adds scrapes of many sidecars up to edges. A sidecar that starts anew counts from 0: what it counted before stays. */
export class EdgeBook {
  private readonly before = new Map<string, Map<string, number>>();
  private readonly sums = new Map<string, Sums>();
  private history: Snapshot[] = [];

  /** Takes one sidecar's metrics. `pod` tells counters apart, `from` is the workload, "namespace/name". */
  observe(pod: string, from: string, series: readonly Series[]): void {
    const counted = this.before.get(pod) ?? new Map<string, number>();
    this.before.set(pod, counted);
    const namespace = from.slice(0, from.indexOf("/"));
    const grown = (s: Series): number => {
      const last = counted.get(s.key) ?? 0;
      counted.set(s.key, s.value);
      return s.value >= last ? s.value - last : s.value;
    };
    const opens = new Map<string, number>();
    for (const s of series) {
      if (s.name === `${DURATION}_count`) this.countRequests(this.edge(from, namespace, s, "http"), s, grown(s));
      else if (s.name === `${DURATION}_bucket`) this.countBucket(this.edge(from, namespace, s, "http"), s, grown(s));
      else if (s.labels["direction"] !== "outbound") continue;
      else if (s.name === "weft_tcp_connections_total") this.countConnections(this.edge(from, namespace, s, "tcp"), s, grown(s));
      else if (s.name === "weft_tcp_sent_bytes_total" || s.name === "weft_tcp_received_bytes_total")
        this.edge(from, namespace, s, "tcp").bytes += grown(s);
      else if (s.name === "weft_tcp_open_connections") opens.set(this.key(from, namespace, s, "tcp"), s.value);
    }
    this.opens.set(pod, opens);
  }

  /** Forgets a pod that is gone; what it counted stays. */
  forget(pod: string): void {
    this.before.delete(pod);
    this.opens.delete(pod);
  }

  /** The edges now, sorted, with rates over the last ten seconds. Call it after each round of scrapes. */
  edges(nowMs: number): Edge[] {
    const sums = new Map([...this.sums].map(([key, s]) => [key, { total: s.total, failed: s.failed, buckets: new Map(s.buckets) }]));
    const base = this.history.find((h) => nowMs - h.atMs <= WINDOW_MS) ?? this.history.at(-1);
    this.history = [...this.history.filter((h) => nowMs - h.atMs <= WINDOW_MS), { atMs: nowMs, sums }];
    const spanS = base === undefined ? 0 : (nowMs - base.atMs) / 1000;
    return [...this.sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, s]) => this.summarise(key, s, base?.sums.get(key), spanS));
  }

  private readonly opens = new Map<string, ReadonlyMap<string, number>>();

  private summarise(
    key: string,
    s: Sums,
    base: { total: number; failed: number; buckets: ReadonlyMap<number, number> } | undefined,
    spanS: number,
  ): Edge {
    const count = s.total - (base?.total ?? 0);
    const failed = s.failed - (base?.failed ?? 0);
    const buckets = new Map([...s.buckets].map(([le, n]) => [le, n - (base?.buckets.get(le) ?? 0)]));
    const open = [...this.opens.values()].reduce((sum, pod) => sum + (pod.get(key) ?? 0), 0);
    return {
      from: s.from,
      to: s.to,
      port: s.port,
      subset: s.subset,
      protocol: s.protocol,
      tls: s.tls,
      peers: [...s.peers].sort(),
      rate: spanS > 0 ? count / spanS : 0,
      success: count > 0 ? (count - failed) / count : null,
      p50: quantile(buckets, 0.5),
      p99: quantile(buckets, 0.99),
      total: s.total,
      openConnections: open,
      bytes: s.bytes,
      method: s.method,
      lastStatus: s.lastStatus,
    };
  }

  private key(from: string, namespace: string, s: Series, protocol: string): string {
    const { to, port, subset } = target(namespace, s);
    return [from, to, port, subset, protocol].join("|");
  }

  private edge(from: string, namespace: string, s: Series, protocol: "http" | "tcp"): Sums {
    const key = this.key(from, namespace, s, protocol);
    const known = this.sums.get(key);
    if (known !== undefined) return known;
    const { to, port, subset } = target(namespace, s);
    const sums: Sums = {
      from,
      to,
      port,
      subset,
      protocol,
      tls: "",
      peers: new Set(),
      total: 0,
      failed: 0,
      buckets: new Map(),
      bytes: 0,
      open: 0,
      method: "",
      lastStatus: "",
    };
    this.sums.set(key, sums);
    return sums;
  }

  private countRequests(sums: Sums, s: Series, grown: number): void {
    if (grown <= 0) return;
    const status = s.labels["http_response_status_code"] ?? "";
    const error = s.labels["error_type"] ?? "";
    sums.total += grown;
    if (/^5\d\d$/.test(status) || status === "" || error.startsWith("WEFT_")) sums.failed += grown;
    sums.method = s.labels["http_request_method"] ?? "";
    sums.lastStatus = status === "" ? error : status;
    who(sums, s);
  }

  private countConnections(sums: Sums, s: Series, grown: number): void {
    if (grown <= 0) return;
    const error = s.labels["error_type"] ?? "";
    sums.total += grown;
    if (error !== "") sums.failed += grown;
    sums.lastStatus = error === "" ? "connected" : error;
    who(sums, s);
  }

  private countBucket(sums: Sums, s: Series, grown: number): void {
    const le = s.labels["le"] === "+Inf" ? Number.POSITIVE_INFINITY : Number(s.labels["le"]);
    if (!Number.isNaN(le)) sums.buckets.set(le, (sums.buckets.get(le) ?? 0) + grown);
  }
}

function who(sums: Sums, s: Series): void {
  const peer = s.labels["weft_peer"] ?? "";
  if (peer !== "") sums.peers.add(peer);
  const tls = s.labels["weft_tls"] ?? "";
  if (tls !== "" && (peer !== "" || sums.tls === "")) sums.tls = tls;
}

function target(namespace: string, s: Series): { to: string; port: string; subset: string } {
  const address = s.labels["server_address"] ?? "";
  const dot = address.indexOf(".");
  const to = dot > 0 && address.slice(dot + 1) === namespace ? address.slice(0, dot) : address;
  return { to, port: s.labels["server_port"] ?? "", subset: s.labels["weft_subset"] ?? "" };
}

/** From cumulative buckets, interpolated within the bucket; null when empty. Beyond the last bound: that bound. */
export function quantile(buckets: ReadonlyMap<number, number>, q: number): number | null {
  const sorted = [...buckets].sort(([a], [b]) => a - b);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const rank = q * total;
  let below = 0;
  let lower = 0;
  for (const [le, count] of sorted) {
    if (count >= rank) return le === Number.POSITIVE_INFINITY ? lower : lower + (le - lower) * exact((rank - below) / (count - below || 1));
    below = count;
    lower = le;
  }
  return lower;
}
