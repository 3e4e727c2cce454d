import net, { type Server, type Socket } from "node:net";
import tls from "node:tls";
import { type InboundPort, MtlsMode, Protocol, type Workload } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { ALPN } from "#api/ports.ts";
import { forwardedOf } from "#mesh/decide/fields.ts";
import { ECDH_CURVES } from "../identity/operator-tls.ts";
import { peerId } from "../identity/peer.ts";
import type { LocalIdentity } from "../identity/store.ts";
import { CLIENT_HELLO_BYTES_MAX, readClientHello } from "../protocol/clienthello.ts";
import { Deadline, type Deadlines } from "../resilience/deadlines.ts";
import { errorBody, type ProxyError } from "../stack/errors.ts";
import { Exchange } from "../stack/exchange.ts";
import { InboundDirector, type InboundPeer } from "../stack/inbound.ts";
import type { Registry } from "../telemetry/metrics.ts";
import { InboundRequestMetrics } from "../telemetry/requests.ts";
import { Carrier } from "./carrier.ts";
import { Http1Pool } from "./http1-client.ts";
import { Http1ServerConnection } from "./http1-server.ts";
import { connectError, type Wiring } from "./socket.ts";
import { abort, pump, setTransport } from "./tcp.ts";

/** A ClientHello must be whole, and the handshake done, after this long. */
const HELLO_TIMEOUT_MS = 5_000;
/** Silence after which a Permissive TCP port asks whether the server is the one that speaks first. */
const SERVER_FIRST_MS = 50;
/** To the application: shorter than the keep-alive of usual servers (Node: 5 s), so that we close first. */
const APP_IDLE_MS = 3_000;
const APP_CONNECT_TIMEOUT_MS = 1_000;
/** Connections of one port at once; above it new ones are refused. */
const CONNECTIONS_MAX = 10_000;

export interface InboundListenerOptions {
  readonly podAddress: string;
  readonly port: number;
  readonly appAddress: string;
  readonly appPort: number;
}

export interface InboundListenerDeps {
  readonly wiring: Wiring;
  readonly deadlines: Deadlines;
  readonly registry: Registry;
  readonly identity: () => LocalIdentity | null;
  readonly workload: () => Workload | null;
  readonly draining: () => boolean;
  readonly overloaded: () => boolean;
  log(error: ProxyError, where: string): void;
}

/** One port of the pod as the mesh sees it. */
export class InboundListener {
  private readonly options: InboundListenerOptions;
  private readonly deps: InboundListenerDeps;
  private readonly server: Server;
  private readonly tlsServer: tls.Server;
  private readonly pool: Http1Pool;
  private readonly metrics: InboundRequestMetrics;
  private readonly http1 = new Set<Http1ServerConnection>();
  private readonly carriers = new Set<Carrier>();
  /** TCP sockets below TLS, by the peer's address and port. */
  private readonly transports = new Map<string, Socket>();
  private readonly label: string;
  private version = 0;

  constructor(options: InboundListenerOptions, deps: InboundListenerDeps) {
    this.options = options;
    this.deps = deps;
    this.label = String(options.port);
    this.metrics = new InboundRequestMetrics(deps.registry, options.port);
    this.pool = new Http1Pool(
      {
        address: options.appAddress,
        port: options.appPort,
        localAddress: options.podAddress,
        connectTimeoutMs: APP_CONNECT_TIMEOUT_MS,
        idleTimeoutMs: APP_IDLE_MS,
      },
      deps.wiring,
    );
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => this.accept(socket));
    this.server.maxConnections = CONNECTIONS_MAX;
    // It never listens: sockets are given to it once their ClientHello was seen. A bare TLSSocket would accept the
    // certificate of any CA, because Node verifies in tls.Server.
    this.tlsServer = tls.createServer({
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
      handshakeTimeout: HELLO_TIMEOUT_MS,
      allowHalfOpen: true,
      ALPNCallback: ({ protocols }) => this.chooseAlpn(protocols),
    } as tls.TlsOptions);
    this.tlsServer.on("secureConnection", (socket) => this.secured(socket));
    this.tlsServer.on("tlsClientError", (error) => this.refused("WEFT_TLS_FAILED", error.message));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen({ host: this.options.podAddress, port: this.options.port, backlog: 4096 }, () => {
        this.server.off("error", reject);
        this.server.on("error", (error) => this.refused("WEFT_CONNECT_FAILED", error.message));
        resolve();
      });
    });
  }

  /** Refuses new requests and lets those in progress end. */
  drain(): void {
    for (const c of this.http1) c.drain();
    for (const c of this.carriers) c.drain();
  }

  close(): void {
    this.server.close();
    this.drain();
    this.pool.close();
  }

  /** Requests in progress, and carriers: one that drains may have requests on their way, and closes by itself. */
  get busy(): number {
    let n = 0;
    for (const c of this.http1) if (!c.idle) n++;
    for (const c of this.carriers) n += Math.max(1, c.http2.activeStreams);
    return n;
  }

  private port(): { protocol: Protocol; mode: MtlsMode } {
    const workload = this.deps.workload();
    const declared: InboundPort | undefined = workload?.ports.find((p) => p.port === this.options.port);
    const mode = declared?.mtlsMode || workload?.mtlsMode || MtlsMode.STRICT;
    return { protocol: declared?.protocol ?? Protocol.TCP, mode };
  }

  private accept(socket: Socket): void {
    socket.on("error", () => {});
    if (this.deps.workload() === null || this.deps.identity() === null) {
      this.refused("WEFT_NOT_READY", "no identity or workload document yet");
      socket.resetAndDestroy();
      return;
    }
    const { protocol, mode } = this.port();
    if (mode === MtlsMode.DISABLED) {
      this.plaintext(socket, protocol, null);
      return;
    }
    this.peek(socket, protocol, mode);
  }

  /** Reads until it is clear what the client speaks. */
  private peek(socket: Socket, protocol: Protocol, mode: MtlsMode): void {
    let seen: Buffer = Buffer.alloc(0);
    let serverFirst: Socket | null = null;
    const stop = (): void => {
      this.deps.deadlines.cancel(timeout);
      this.deps.deadlines.cancel(silence);
      socket.off("data", data);
      socket.off("end", ended);
      socket.off("close", ended);
      socket.pause();
    };
    const ended = (): void => {
      stop();
      serverFirst?.destroy();
      socket.destroy();
    };
    const data = (chunk: Buffer): void => {
      this.deps.deadlines.cancel(silence);
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const hello = readClientHello(seen);
      if (hello.kind === "more" && seen.length <= CLIENT_HELLO_BYTES_MAX) return;
      stop();
      socket.unshift(seen);
      const suffix = `.weft.${this.deps.identity()?.trustDomain ?? ""}`;
      const ours =
        hello.kind === "hello" &&
        (mode === MtlsMode.STRICT || hello.serverName.endsWith(suffix) || hello.alpn.some((p) => p.startsWith("weft-")));
      if (ours) {
        serverFirst?.destroy();
        this.terminate(socket);
      } else if (mode === MtlsMode.STRICT) {
        this.refusePlaintext(socket, hello.kind);
      } else {
        // Someone else's TLS is for the application; so is plaintext.
        this.plaintext(socket, hello.kind === "not-tls" ? protocol : Protocol.TCP, serverFirst);
      }
    };
    const timeout = new Deadline(() => {
      stop();
      serverFirst?.destroy();
      this.refused("WEFT_TLS_FAILED", "no whole ClientHello within 5 s");
      socket.destroy();
    });
    const silence = new Deadline(() => {
      serverFirst = this.dialApp();
      serverFirst.on("error", () => {});
      serverFirst.once("readable", () => {
        // The server speaks first, and a TLS client never waits for it: this is plaintext.
        const upstream = serverFirst;
        if (upstream === null || upstream.readableLength === 0) return;
        stop();
        this.plaintext(socket, Protocol.TCP, upstream);
      });
    });
    socket.on("data", data);
    socket.once("end", ended);
    socket.once("close", ended);
    this.deps.deadlines.arm(timeout, HELLO_TIMEOUT_MS);
    if (mode === MtlsMode.PERMISSIVE && protocol === Protocol.TCP) this.deps.deadlines.arm(silence, SERVER_FIRST_MS);
    socket.resume();
  }

  private refusePlaintext(socket: Socket, kind: string): void {
    const error: ProxyError = { code: "WEFT_PLAINTEXT_REFUSED", detail: `${kind} from ${socket.remoteAddress ?? "?"}` };
    this.refused(error.code, error.detail);
    if (kind !== "not-tls") {
      socket.resetAndDestroy();
      return;
    }
    // Whoever speaks HTTP reads why; to anything else it is noise before the end.
    const body = errorBody(error);
    socket.end(
      `HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\nweft-error: ${error.code}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    const linger = new Deadline(() => socket.destroy());
    this.deps.deadlines.arm(linger, 1_000);
    socket.once("close", () => this.deps.deadlines.cancel(linger));
    socket.resume();
  }

  private terminate(socket: Socket): void {
    const identity = this.deps.identity();
    if (identity === null) {
      socket.resetAndDestroy();
      return;
    }
    if (identity.version !== this.version) {
      this.version = identity.version;
      this.tlsServer.setSecureContext({
        ...identity.tlsOptions,
        minVersion: "TLSv1.3",
        ecdhCurve: ECDH_CURVES,
        requestCert: true,
        rejectUnauthorized: true,
      } as tls.SecureContextOptions);
    }
    const name = endOf(socket);
    this.transports.set(name, socket);
    socket.once("close", () => this.transports.delete(name));
    this.tlsServer.emit("connection", socket);
  }

  /** Never believed for what follows: it only says which of our carriers a sidecar wants. Undefined refuses the connection (RFC 7301 §3.2). */
  private chooseAlpn(protocols: readonly string[]): string | undefined {
    const wanted = this.port().protocol === Protocol.HTTP ? [ALPN.http2, "http/1.1", ALPN.tcp] : [ALPN.tcp];
    return wanted.find((p) => protocols.includes(p));
  }

  private secured(socket: tls.TLSSocket): void {
    socket.on("error", () => {});
    const transport = this.transports.get(endOf(socket));
    if (transport !== undefined) setTransport(socket, transport);
    const id = peerId(socket);
    const own = this.deps.identity();
    if (id === null || own === null || !id.startsWith(`spiffe://${own.trustDomain}/`)) {
      this.refused("WEFT_PEER_IDENTITY", "the client's certificate is no workload's SVID of this trust domain");
      socket.destroy();
      return;
    }
    this.deps.registry.counter("weft_tls_handshakes_total", ["inbound", "ok"]).inc();
    const { protocol } = this.port();
    const peer: InboundPeer = {
      id,
      forwarded: forwardedOf(own.spiffeId, id, socket.remoteAddress ?? ""),
      sidecar: socket.alpnProtocol === ALPN.http2,
    };
    if (protocol !== Protocol.HTTP) this.joinApp(socket, id);
    else if (peer.sidecar) this.serveCarrier(socket, peer);
    else this.serveHttp1(socket, peer);
  }

  private director(peer: InboundPeer): InboundDirector {
    return new InboundDirector(peer, this.pool, {
      nowMs: this.deps.wiring.nowMs,
      draining: this.deps.draining,
      overloaded: this.deps.overloaded,
      request: (x, p, seconds) => this.metrics.request(x, p, seconds),
      log: (error, x) => this.deps.log(appError(error), `inbound :${this.label} ${x.request.method} from ${peer.id || "plaintext"}`),
    });
  }

  private serveCarrier(socket: tls.TLSSocket, peer: InboundPeer): void {
    const { wiring, deadlines } = this.deps;
    const director = this.director(peer);
    const carrier = new Carrier(socket, wiring, {
      role: "server",
      dialect: "weft",
      onGoaway: () => {},
      onStream: (stream) => new Exchange(stream, director, deadlines, wiring.nowMs),
    });
    carrier.onClose = () => this.carriers.delete(carrier);
    this.carriers.add(carrier);
    carrier.start();
    if (this.deps.draining()) carrier.drain();
  }

  private serveHttp1(socket: Socket, peer: InboundPeer): void {
    const director = this.director(peer);
    const connection = new Http1ServerConnection(socket, this.deps.wiring, {
      onStream: (stream) => new Exchange(stream, director, this.deps.deadlines, this.deps.wiring.nowMs),
      onProtocolError: (error) => this.deps.log(error, `inbound :${this.label} from ${peer.id || "plaintext"}`),
      onClose: () => this.http1.delete(connection),
    });
    this.http1.add(connection);
    socket.resume();
  }

  private plaintext(socket: Socket, protocol: Protocol, upstream: Socket | null): void {
    this.deps.registry.counter("weft_inbound_plaintext_connections_total", [this.label]).inc();
    if (protocol === Protocol.HTTP) {
      const own = this.deps.identity()?.spiffeId ?? "";
      this.serveHttp1(socket, { id: "", forwarded: forwardedOf(own, null, socket.remoteAddress ?? ""), sidecar: false });
      return;
    }
    this.joinApp(socket, "", upstream);
  }

  private dialApp(): Socket {
    const { appAddress: host, appPort: port, podAddress: localAddress } = this.options;
    return net.connect({ host, port, localAddress, allowHalfOpen: true, noDelay: true });
  }

  private joinApp(socket: Socket, peer: string, dialled: Socket | null = null): void {
    const { registry, wiring } = this.deps;
    // One that was dialled while the client was silent may have failed meanwhile.
    const upstream = dialled === null || dialled.destroyed ? this.dialApp() : dialled;
    const labels = ["inbound", "", this.label];
    const count = (error: string): void =>
      registry.counter("weft_tcp_connections_total", [...labels, peer, peer === "" ? "none" : "mtls", error]).inc();
    const failed = (error: Error): void => {
      count("WEFT_APP_UNREACHABLE");
      this.deps.log(
        { code: "WEFT_APP_UNREACHABLE", detail: connectError(error, `${this.options.appAddress}:${this.options.appPort}`, false).detail },
        `inbound :${this.label}`,
      );
      abort(socket);
    };
    const abandoned = (): void => {
      upstream.destroy();
    };
    const join = (): void => {
      upstream.off("error", failed);
      socket.off("close", abandoned);
      count("");
      const open = registry.gauge("weft_tcp_open_connections", labels);
      const sent = registry.counter("weft_tcp_sent_bytes_total", [...labels, peer]);
      const received = registry.counter("weft_tcp_received_bytes_total", [...labels, peer]);
      open.inc();
      pump(socket, upstream, { account: wiring.account, sent, received }, () => open.dec());
    };
    upstream.on("error", failed);
    socket.once("close", abandoned);
    if (upstream === dialled && !dialled.connecting) join();
    else upstream.once("connect", join);
  }

  private refused(code: ProxyError["code"], detail: string): void {
    this.deps.registry.counter("weft_inbound_refused_connections_total", [this.label, code]).inc();
    this.deps.log({ code, detail }, `inbound :${this.label}`);
  }
}

function endOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}

/** Seen from inbound, an upstream that cannot be reached is the application. */
function appError(error: ProxyError): ProxyError {
  return error.code === "WEFT_CONNECT_FAILED" || error.code === "WEFT_CONNECT_TIMEOUT" ? { ...error, code: "WEFT_APP_UNREACHABLE" } : error;
}
