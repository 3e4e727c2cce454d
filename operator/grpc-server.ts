import { constants, generateKeyPairSync } from "node:crypto";
import { createSecureServer, type Http2SecureServer, type Http2ServerRequest, type ServerHttp2Session } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type ConnectRouter, createContextKey, createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Clock, Random } from "#api/clock.ts";
import { DiscoveryService } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { IdentityService } from "#api/gen/weft/identity/v1/identity_pb.ts";
import { OPERATOR } from "#api/ports.ts";
import { workloadId } from "#api/spiffe.ts";
import type { Authority } from "#ca/authority.ts";
import { OPERATOR_SERVER } from "#ca/profiles.ts";
import { pem } from "#ca/store.ts";
import type { Logger } from "#runtime/logger.ts";
import { discoveryStream } from "./discovery-service.ts";
import type { Hub } from "./hub.ts";
import type { IdentityServer } from "./identity-service.ts";
import { keepAlive } from "./keep-alive.ts";
import { type PeerResult, peerOf } from "./peer.ts";

/** Bytes of one request: 5,000 keys of 600 octets and their versions. */
const DISCOVERY_MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes: a key, a token and a proof at their largest. */
const IDENTITY_MESSAGE_BYTES_MAX = 20 * 1024;
/** A proxy has one discovery stream and now and then asks for a certificate. */
const STREAMS_PER_CONNECTION_MAX = 32;
const CONNECTIONS_MAX = 20_000;
const TLS_HANDSHAKE_MS_MAX = 10_000;
const RENEWAL_RETRY_MS = 5000;
/** For the trailers of streams that are ended. */
const LAST_WORDS_MS = 200;

export interface GrpcServerDeps {
  readonly authority: Authority;
  readonly identity: IdentityServer;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Lifetime of the server's own certificate, MeshIdentity's. */
  readonly ttlMs: () => number;
}

const PEER = createContextKey<PeerResult>({ refused: "no TLS connection" });

/**
 * Identity (server TLS and a token) and discovery (mTLS) on one port. Client certificates are asked for but not
 * demanded; `authorized` then says per connection what Node's verification found.
 */
export class GrpcServer {
  readonly #deps: GrpcServerDeps;
  readonly #server: Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();
  /** TCP connections, those in their TLS handshake too. */
  readonly #sockets = new Set<Socket>();
  readonly #peers = new WeakMap<TLSSocket, PeerResult>();
  #cancelRenewal: () => void = () => {};
  #closed = false;

  private constructor(deps: GrpcServerDeps) {
    this.#deps = deps;
    const handler = connectNodeAdapter({
      routes: (router) => this.#routes(router),
      contextValues: (request) => createContextValues().set(PEER, this.#peer(request as Http2ServerRequest)),
      // gRPC alone, and no compression: nothing to inflate, and documents are small.
      connect: false,
      grpcWeb: false,
      acceptCompression: [],
    });
    this.#server = createSecureServer(
      { ...this.#tlsOptions(), handshakeTimeout: TLS_HANDSHAKE_MS_MAX, settings: { maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX } },
      handler,
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("error", (error) => deps.logger.debug("a connection failed", { error: error.message }));
      session.once("close", () => this.#sessions.delete(session));
      keepAlive(session, deps.clock);
    });
    this.#server.on("tlsClientError", (error) => deps.logger.debug("a TLS handshake failed", { error: error.message }));
    this.#server.on("sessionError", (error) => deps.logger.debug("a connection failed", { error: (error as Error).message }));
  }

  /** Rejects when no certificate can be made or the port is taken. Port 0: any free one. */
  static async start(deps: GrpcServerDeps, address: string, port: number): Promise<GrpcServer> {
    const server = new GrpcServer(deps);
    await server.#renew();
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", reject);
      server.#server.listen(port, address, () => {
        server.#server.off("error", reject);
        resolve();
      });
    });
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Takes no new connections, says Goodbye on every stream, and ends when all have gone or `graceMs` is over. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    this.#cancelRenewal();
    const gone = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#deps.hub.goodbye("the operator is going away");
    for (const session of this.#sessions) session.close();
    let cancel = this.#deps.clock.after(graceMs, () => {
      this.#deps.hub.finish();
      cancel = this.#deps.clock.after(LAST_WORDS_MS, destroy);
    });
    const destroy = (): void => {
      // Not the sessions: one that is closing already would wait for its peer to hang up.
      for (const socket of this.#sockets) socket.destroy();
    };
    await gone;
    cancel();
  }

  #routes(router: ConnectRouter): void {
    const { identity, hub, logger } = this.#deps;
    router.service(
      IdentityService,
      { issue: (request, context) => identity.issue(request, context) },
      { readMaxBytes: IDENTITY_MESSAGE_BYTES_MAX },
    );
    router.service(
      DiscoveryService,
      { stream: (requests, context) => discoveryStream(hub, context.values.get(PEER), requests, context.signal, logger) },
      { readMaxBytes: DISCOVERY_MESSAGE_BYTES_MAX },
    );
  }

  #peer(request: Http2ServerRequest): PeerResult {
    const socket = request.stream.session?.socket as TLSSocket | undefined;
    if (socket === undefined) return { refused: "the connection is gone" };
    let peer = this.#peers.get(socket);
    if (peer === undefined) {
      peer = peerOf(socket, this.#deps.authority.trustDomain);
      this.#peers.set(socket, peer);
    }
    return peer;
  }

  #tlsOptions() {
    return {
      minVersion: "TLSv1.3",
      requestCert: true,
      // Identity callers have no certificate yet; discovery looks at `authorized`.
      rejectUnauthorized: false,
      ca: this.#deps.authority.roots().map((der) => pem("CERTIFICATE", der)),
      // No resumption: every connection shows its certificate anew.
      secureOptions: constants.SSL_OP_NO_TICKET,
      sessionIdContext: "weft-operator",
    } as const;
  }

  /** Issues the server's own certificate and arms its renewal at half of its life. */
  async #renew(): Promise<void> {
    const { authority, clock, random, logger } = this.#deps;
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const issued = await authority.issue({
      profile: OPERATOR_SERVER,
      publicKey: publicKey.export({ format: "der", type: "spki" }),
      uri: workloadId(authority.trustDomain, OPERATOR.namespace, OPERATOR.serviceAccount),
      dnsNames: [`${OPERATOR.serviceAccount}.${OPERATOR.namespace}.svc`],
      ttlMs: this.#deps.ttlMs(),
    });
    if ("refused" in issued) throw new Error(`the operator's own certificate cannot be issued: ${issued.refused}`);
    this.#server.setSecureContext({
      ...this.#tlsOptions(),
      key: privateKey.export({ format: "pem", type: "pkcs8" }) as string,
      cert: issued.chain.map((der) => pem("CERTIFICATE", der)).join(""),
    });
    // A tenth of the half earlier at most, so that replicas do not ask together.
    const delayMs = ((issued.notAfterMs - clock.wallMs()) / 2) * (1 - 0.1 * random());
    logger.debug("the operator's own certificate was issued", { notAfter: new Date(issued.notAfterMs).toISOString() });
    this.#armRenewal(delayMs);
  }

  #armRenewal(delayMs: number): void {
    if (this.#closed) return;
    this.#cancelRenewal = this.#deps.clock.after(delayMs, () => {
      this.#renew().catch((error: Error) => {
        this.#deps.logger.error("the operator's own certificate was not renewed", { error: error.message });
        this.#armRenewal(RENEWAL_RETRY_MS);
      });
    });
  }
}
