import net, { type Server, type Socket } from "node:net";
import type tls from "node:tls";
import { Protocol } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { ErrorCode } from "#api/errors.ts";
import { ALPN } from "#api/ports.ts";
import type { LocalIdentity } from "../identity/store.ts";
import { Deadline, type Deadlines } from "../resilience/deadlines.ts";
import { errorBody, errorFields, type ProxyError, statusOf } from "../stack/errors.ts";
import { Exchange } from "../stack/exchange.ts";
import type { Counter, Gauge, Registry } from "../telemetry/metrics.ts";
import { meshConnect } from "./carrier-pool.ts";
import type { LiveEndpoint } from "./endpoints.ts";
import { Http1ServerConnection } from "./http1-server.ts";
import type { LiveService, ServiceTable } from "./services.ts";
import { connectError, type Wiring } from "./socket.ts";
import { pump, setTransport } from "./tcp.ts";

/** How long a connection waits for the documents of a service that is used for the first time. */
const RESOLVE_TIMEOUT_MS = 3_000;
/** Endpoints tried for one TCP connection. */
const TCP_ATTEMPTS = 3;

export interface OutboundListenerOptions {
  readonly address: string;
  readonly port: number;
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
}

export interface OutboundListenerDeps {
  readonly wiring: Wiring;
  readonly deadlines: Deadlines;
  readonly services: ServiceTable;
  readonly registry: Registry;
  readonly identity: () => LocalIdentity | null;
  readonly random: () => number;
  log(error: ProxyError, where: string): void;
}

interface TcpMeters {
  readonly established: Counter;
  readonly open: Gauge;
  readonly sent: Counter;
  readonly received: Counter;
}

/** One explicit listener: all that is sent to it is meant for one service port. */
export class OutboundListener {
  private readonly options: OutboundListenerOptions;
  private readonly deps: OutboundListenerDeps;
  private readonly server: Server;
  private readonly key: string;
  private readonly where: string;
  private readonly connections = new Set<Http1ServerConnection>();
  private readonly meters = new WeakMap<LiveEndpoint, TcpMeters>();

  constructor(options: OutboundListenerOptions, deps: OutboundListenerDeps) {
    this.options = options;
    this.deps = deps;
    const { namespace, name, port } = options.service;
    this.key = `service/${namespace}/${name}/${port}`;
    this.where = `${name}.${namespace}:${port}`;
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => this.accept(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen({ host: this.options.address, port: this.options.port, backlog: 4096 }, () => {
        this.server.off("error", reject);
        // Out of file descriptors, say: the connection is lost, the listener is not.
        this.server.on("error", (error) => this.deps.log({ code: "WEFT_CONNECT_FAILED", detail: error.message }, this.where));
        resolve();
      });
    });
  }

  /** Stops accepting; requests in progress end on their own. */
  close(): void {
    this.server.close();
    for (const c of this.connections) c.drain();
  }

  private accept(socket: Socket): void {
    socket.on("error", () => {});
    const service = this.deps.services.get(this.key);
    if (service !== undefined) {
      this.serve(socket, service);
      return;
    }
    const cancel = this.deps.services.when(this.key, RESOLVE_TIMEOUT_MS, (known) => {
      if (!socket.destroyed) this.serve(socket, known);
    });
    socket.once("close", cancel);
  }

  private serve(socket: Socket, service: LiveService | null | undefined): void {
    if (service === null || service === undefined) {
      const code: ErrorCode = service === null ? "WEFT_UNKNOWN_SERVICE" : "WEFT_NOT_READY";
      this.refuse(socket, {
        code,
        detail: service === null ? `the operator knows no ${this.where}` : `nothing heard of ${this.where} within 3 s`,
      });
      return;
    }
    if (service.snapshot.service.protocol === Protocol.HTTP) this.serveHttp(socket, service);
    else this.serveTcp(socket, service);
  }

  /** What the port speaks is not known, so the answer must suit whoever reads it: HTTP clients get a status, others see text and the end. */
  private refuse(socket: Socket, error: ProxyError): void {
    this.deps.log(error, this.where);
    const body = errorBody(error);
    const fields = errorFields(error);
    let head = `HTTP/1.1 ${statusOf(error)} Service Unavailable\r\nconnection: close\r\ncontent-length: ${body.length}\r\n`;
    for (let i = 0; i < fields.length; i += 2) head += `${fields[i]}: ${fields[i + 1]}\r\n`;
    socket.resume();
    socket.end(Buffer.concat([Buffer.from(`${head}\r\n`, "latin1"), body]));
    const linger = new Deadline(() => socket.destroy());
    this.deps.deadlines.arm(linger, 1_000);
    socket.once("close", () => this.deps.deadlines.cancel(linger));
  }

  private serveHttp(socket: Socket, service: LiveService): void {
    const { wiring, deadlines } = this.deps;
    const connection = new Http1ServerConnection(socket, wiring, {
      // The director is the service's own and outlives versions; `get` marks the documents as used.
      onStream: (stream) => new Exchange(stream, (this.deps.services.get(this.key) ?? service).director, deadlines, wiring.nowMs),
      onProtocolError: (error) => this.deps.log(error, this.where),
      onClose: () => this.connections.delete(connection),
    });
    this.connections.add(connection);
    socket.resume();
  }

  private serveTcp(socket: Socket, service: LiveService): void {
    const cluster = service.clusters[0];
    const tried: LiveEndpoint[] = [];
    const next = (last: ProxyError): void => {
      if (socket.destroyed) return;
      const now = this.deps.wiring.nowMs();
      const endpoint = cluster?.picker.pick(cluster.endpoints, tried, now, this.deps.random);
      if (endpoint === undefined || tried.length >= TCP_ATTEMPTS || cluster === undefined) {
        this.count("", "none", last.code);
        this.deps.log(last, this.where);
        socket.resetAndDestroy();
        return;
      }
      tried.push(endpoint);
      this.dial(socket, endpoint, cluster.definition.connectTimeoutMs || 1_000, next);
    };
    next({ code: "WEFT_NO_ENDPOINT", detail: `${this.where} has no ready endpoint` });
  }

  private dial(socket: Socket, endpoint: LiveEndpoint, timeoutMs: number, next: (error: ProxyError) => void): void {
    const { deadlines, wiring } = this.deps;
    if (endpoint.loop !== null) {
      next(endpoint.loop);
      return;
    }
    const meshed = endpoint.spiffeId !== "";
    const identity = this.deps.identity();
    if (meshed && identity === null) {
      next({ code: "WEFT_NOT_READY", detail: "this workload has no certificate yet" });
      return;
    }
    const { address: host, port } = endpoint.endpoint;
    const started = wiring.nowMs();
    const transport = net.connect({ host, port, allowHalfOpen: true, noDelay: true });
    let upstream: Socket = transport;
    if (meshed && identity !== null) {
      upstream = meshConnect(identity, endpoint.spiffeId, [ALPN.tcp], { socket: transport, allowHalfOpen: true });
      setTransport(upstream, transport);
    }
    let settled = false;
    const fail = (error: ProxyError): void => {
      if (settled) return;
      settled = true;
      deadlines.cancel(timeout);
      socket.off("close", abandoned);
      upstream.destroy();
      transport.destroy();
      endpoint.load.fail(wiring.nowMs());
      next(error);
    };
    const abandoned = (): void => {
      settled = true;
      deadlines.cancel(timeout);
      upstream.destroy();
      transport.destroy();
    };
    const timeout = new Deadline(() =>
      fail({ code: "WEFT_CONNECT_TIMEOUT", detail: `${endpoint.name} made no connection within ${timeoutMs} ms` }),
    );
    deadlines.arm(timeout, timeoutMs);
    socket.once("close", abandoned);
    upstream.on("error", (error) => fail(connectError(error, endpoint.name, meshed)));
    if (upstream !== transport) transport.on("error", (error) => fail(connectError(error, endpoint.name, false)));
    upstream.once(meshed ? "secureConnect" : "connect", () => {
      if (settled) return;
      // No choice at all is what a server that is no sidecar makes; it has shown the right SVID, and bytes are bytes.
      const chosen = meshed ? (upstream as tls.TLSSocket).alpnProtocol : false;
      if (chosen !== false && chosen !== ALPN.tcp) {
        fail({ code: "WEFT_TLS_FAILED", detail: `${endpoint.name} chose the protocol ${String(chosen)}, not ${ALPN.tcp}` });
        return;
      }
      settled = true;
      deadlines.cancel(timeout);
      socket.off("close", abandoned);
      endpoint.load.observe(wiring.nowMs(), wiring.nowMs() - started);
      this.join(socket, upstream, endpoint);
    });
  }

  private join(socket: Socket, upstream: Socket, endpoint: LiveEndpoint): void {
    const { established, open, sent, received } = this.metersOf(endpoint);
    established.inc();
    open.inc();
    endpoint.load.inFlight++;
    pump(socket, upstream, { account: this.deps.wiring.account, sent, received }, () => {
      open.dec();
      endpoint.load.inFlight--;
    });
  }

  /** Looked up once an endpoint: looking series up by their labels is dear for short connections. */
  private metersOf(endpoint: LiveEndpoint): TcpMeters {
    let meters = this.meters.get(endpoint);
    if (meters === undefined) {
      const { registry } = this.deps;
      const { name, namespace, port } = this.options.service;
      const target = ["outbound", `${name}.${namespace}`, String(port)];
      const peer = endpoint.spiffeId;
      meters = {
        established: registry.counter("weft_tcp_connections_total", [...target, peer, peer === "" ? "none" : "mtls", ""]),
        open: registry.gauge("weft_tcp_open_connections", target),
        sent: registry.counter("weft_tcp_sent_bytes_total", [...target, peer]),
        received: registry.counter("weft_tcp_received_bytes_total", [...target, peer]),
      };
      this.meters.set(endpoint, meters);
    }
    return meters;
  }

  private count(peer: string, security: "mtls" | "none", error: string): void {
    const { name, namespace, port } = this.options.service;
    this.deps.registry
      .counter("weft_tcp_connections_total", ["outbound", `${name}.${namespace}`, String(port), peer, security, error])
      .inc();
  }
}
