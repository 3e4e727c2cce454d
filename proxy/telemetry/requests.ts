import type { CompiledRoute } from "#mesh/decide/compile.ts";
import type { Exchange } from "../stack/exchange.ts";
import type { InboundPeer } from "../stack/inbound.ts";
import type { OutboundCluster, OutboundEndpoint, OutboundMetrics } from "../stack/outbound.ts";
import { methodLabel, statusLabel } from "./labels.ts";
import type { Histogram, Registry } from "./metrics.ts";

/** Series found by the last request of the same kind; most requests of an endpoint are of one kind. */
interface Recent {
  status: number;
  method: string;
  error: string;
  route: CompiledRoute | null;
  histogram: Histogram;
}

/** The error as label: "" for none, "client_closed" when the client went away. */
function errorLabel(x: Exchange): string {
  if (x.error === null) return "";
  return x.error.status === 499 ? "client_closed" : x.error.code;
}

/** Counts the requests made to one service port. Looks a series up only when the kind of request changes. */
export class OutboundRequestMetrics implements OutboundMetrics {
  private readonly registry: Registry;
  private readonly address: string;
  private readonly port: string;
  private readonly recent = new WeakMap<object, Recent>();

  /** `address` is "<service>.<namespace>". */
  constructor(registry: Registry, address: string, port: number) {
    this.registry = registry;
    this.address = address;
    this.port = String(port);
  }

  request(
    x: Exchange,
    route: CompiledRoute | null,
    cluster: OutboundCluster | null,
    endpoint: OutboundEndpoint | null,
    seconds: number,
  ): void {
    const status = x.error?.status === 499 ? 499 : x.status;
    const error = errorLabel(x);
    const method = x.request.method;
    const key: object = endpoint ?? cluster ?? this;
    const last = this.recent.get(key);
    if (last !== undefined && last.status === status && last.route === route && last.method === method && last.error === error) {
      last.histogram.observe(seconds);
      return;
    }
    const peer = endpoint?.spiffeId ?? "";
    const histogram = this.registry.histogram("http_client_request_duration_seconds", [
      this.address,
      this.port,
      route?.name ?? "",
      cluster?.subset ?? "",
      peer,
      peer === "" ? "none" : "mtls",
      methodLabel(method),
      statusLabel(status),
      error,
    ]);
    this.recent.set(key, { status, method, error, route, histogram });
    histogram.observe(seconds);
  }

  retry(reason: string): void {
    this.registry.counter("weft_retries_total", [this.address, this.port, reason]).inc();
  }

  budgetExhausted(): void {
    this.registry.counter("weft_retry_budget_exhausted_total", [this.address, this.port]).inc();
  }

  fault(type: "delay" | "abort"): void {
    this.registry.counter("weft_faults_injected_total", [this.address, this.port, type]).inc();
  }
}

/** Counts the requests served on one port of the pod. */
export class InboundRequestMetrics {
  private readonly registry: Registry;
  private readonly port: string;
  private readonly recent = new WeakMap<InboundPeer, Recent>();

  constructor(registry: Registry, port: number) {
    this.registry = registry;
    this.port = String(port);
  }

  request(x: Exchange, peer: InboundPeer, seconds: number): void {
    const status = x.error?.status === 499 ? 499 : x.status;
    const error = errorLabel(x);
    const method = x.request.method;
    const last = this.recent.get(peer);
    if (last !== undefined && last.status === status && last.method === method && last.error === error) {
      last.histogram.observe(seconds);
      return;
    }
    const histogram = this.registry.histogram("http_server_request_duration_seconds", [
      this.port,
      peer.id,
      peer.id === "" ? "none" : "mtls",
      methodLabel(method),
      statusLabel(status),
      error,
    ]);
    this.recent.set(peer, { status, method, error, route: null, histogram });
    histogram.observe(seconds);
  }
}
