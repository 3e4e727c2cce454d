import type net from "node:net";
import tls from "node:tls";
import { ALPN, meshServerName } from "#api/ports.ts";
import { spiffeIdOf } from "../identity/san.ts";
import type { LocalIdentity } from "../identity/store.ts";
import type { ClientEvents, ClientStream } from "../protocol/stream.ts";
import { Deadline } from "../resilience/deadlines.ts";
import type { ProxyError } from "../stack/errors.ts";
import type { Upstream } from "../stack/upstream.ts";
import { Carrier } from "./carrier.ts";
import { connectError, type Wiring } from "./socket.ts";

/** Most carriers to one endpoint. */
const CARRIERS_MAX = 4;
/** Streams on a carrier at which a further one is opened. */
const STREAMS_PER_CARRIER = 100;

export interface CarrierTarget {
  readonly address: string;
  readonly port: number;
  /** The peer's certificate must carry exactly this id. */
  readonly spiffeId: string;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

/** Options of tls.connect for a connection to a sidecar, whatever it carries. The peer's SPIFFE id is checked before a byte of ours is sent. */
export function meshTlsOptions(identity: LocalIdentity, expectedId: string, alpn: readonly string[]): tls.ConnectionOptions {
  return {
    secureContext: identity.clientContext,
    servername: meshServerName(identity.trustDomain),
    ALPNProtocols: [...alpn],
    rejectUnauthorized: true,
    minVersion: "TLSv1.3",
    // Called by Node only after the chain was verified against our bundle.
    checkServerIdentity: (_name, certificate) => {
      const id = spiffeIdOf(certificate.raw);
      if (id === expectedId) return undefined;
      return Object.assign(new Error(`the peer is ${id ?? "without a valid SPIFFE id"}, expected ${expectedId}`), {
        code: "WEFT_PEER_IDENTITY",
      });
    },
  };
}

/**
 * tls.connect to a sidecar. Node asks the new connection for its certificate in words and hands them to
 * `checkServerIdentity`; rendering subject, names and the whole chain was a sixth of the CPU of a handshake. Ours
 * needs the DER alone, so the connection answers with that.
 */
export function meshConnect(
  identity: LocalIdentity,
  expectedId: string,
  alpn: readonly string[],
  to: { readonly host: string; readonly port: number } | { readonly socket: net.Socket; readonly allowHalfOpen: boolean },
): tls.TLSSocket {
  const socket = tls.connect({ ...meshTlsOptions(identity, expectedId, alpn), ...to } as tls.ConnectionOptions);
  socket.getPeerCertificate = () =>
    ({ raw: socket.getPeerX509Certificate()?.raw ?? NO_CERTIFICATE }) as unknown as tls.DetailedPeerCertificate;
  return socket;
}

/** ALPN of HTTP/1.1 (RFC 7301); what servers that are no sidecars choose, if they choose at all. */
export const HTTP1 = "http/1.1";

const NO_CERTIFICATE = Buffer.alloc(0);

/** The carriers (`weft-h2/1`) to one endpoint. A connection made with one local identity is never used with another. */
export class CarrierPool {
  readonly target: CarrierTarget;
  readonly wiring: Wiring;
  private readonly identity: () => LocalIdentity | null;
  private carriers: ClientCarrier[] = [];
  /** Called with the change in the number of open connections. */
  onCount: (change: 1 | -1) => void = () => {};
  onHandshake: (outcome: "ok" | "failed") => void = () => {};
  /** The endpoint proved its identity and chose none of our carriers: it is no sidecar. */
  onForeign: () => void = () => {};

  constructor(target: CarrierTarget, wiring: Wiring, identity: () => LocalIdentity | null) {
    this.target = target;
    this.wiring = wiring;
    this.identity = identity;
  }

  /** A stream for one request, or why there is none. The connection behind it may still be being made. */
  open(events: ClientEvents, upstream: { upstream: Upstream | null }): ClientStream | ProxyError {
    const identity = this.identity();
    if (identity === null) return { code: "WEFT_NOT_READY", detail: "this workload has no certificate yet" };
    let best: ClientCarrier | null = null;
    for (const c of this.carriers) {
      if (!c.usable(identity.version)) continue;
      if (best === null || c.weight < best.weight) best = c;
    }
    const crowded = best !== null && (best.streams >= STREAMS_PER_CARRIER || best.bulk > 0);
    if (best === null || (crowded && this.carriers.length < CARRIERS_MAX)) {
      best = new ClientCarrier(this, identity);
      this.carriers.push(best);
      this.onCount(1);
    }
    const stream = best.request(events);
    if (stream === null)
      return { code: "WEFT_OVERLOADED", detail: `no further stream on the carrier to ${this.target.address}:${this.target.port}` };
    upstream.upstream = best;
    return stream;
  }

  forget(carrier: ClientCarrier): void {
    const i = this.carriers.indexOf(carrier);
    if (i < 0) return;
    this.carriers.splice(i, 1);
    this.onCount(-1);
  }

  /** Requests in progress end on their own; then the connections are closed. */
  close(): void {
    for (const c of [...this.carriers]) c.retire();
  }

  /** The local identity changed: the old carriers take no new requests. */
  retireOld(version: number): void {
    for (const c of [...this.carriers]) if (c.version !== version) c.retire();
  }

  get size(): number {
    return this.carriers.length;
  }
}

class ClientCarrier implements Upstream {
  failure: ProxyError | null = null;
  established = false;
  reused = false;
  bulk = 0;
  readonly version: number;
  private readonly pool: CarrierPool;
  private readonly carrier: Carrier;
  private readonly deadline: Deadline;
  private retired = false;
  private requested = false;
  private socketGone = false;

  constructor(pool: CarrierPool, identity: LocalIdentity) {
    this.pool = pool;
    this.version = identity.version;
    const { address, port, spiffeId, connectTimeoutMs } = pool.target;
    const socket = meshConnect(identity, spiffeId, [ALPN.http2, HTTP1], { host: address, port });
    socket.setNoDelay(true);
    // The timeout is for connect(2) and the handshake together: a peer that accepts and says nothing is as dead.
    this.deadline = new Deadline(() => this.timedOut());
    pool.wiring.deadlines.arm(this.deadline, connectTimeoutMs);
    this.carrier = new Carrier(socket, pool.wiring, {
      role: "client",
      dialect: "weft",
      onGoaway: () => this.retire(),
      onIdle: () => this.idle(),
    });
    this.carrier.onClose = () => this.gone();
    socket.on("secureConnect", () => {
      if (socket.alpnProtocol !== ALPN.http2) {
        // Not a sidecar, but it holds the right SVID: nothing was sent yet, so its requests are made anew over HTTP/1.1.
        this.failure = { code: "WEFT_TLS_FAILED", detail: `${address}:${port} does not speak ${ALPN.http2}` };
        pool.onHandshake("ok");
        pool.onForeign();
        this.carrier.destroy(this.failure.detail);
        return;
      }
      this.established = true;
      pool.onHandshake("ok");
      pool.wiring.deadlines.cancel(this.deadline);
      this.carrier.start();
    });
    socket.on("error", (error) => {
      if (this.established || this.failure !== null) return;
      this.failure = connectError(error, `${address}:${port}`, true);
      pool.onHandshake("failed");
    });
  }

  get streams(): number {
    return this.carrier.http2.activeStreams;
  }

  get weight(): number {
    return this.streams + this.bulk * STREAMS_PER_CARRIER;
  }

  usable(version: number): boolean {
    return this.version === version && !this.retired && !this.carrier.ending && this.carrier.http2.canRequest;
  }

  request(events: ClientEvents): ClientStream | null {
    if (this.established) {
      this.pool.wiring.deadlines.cancel(this.deadline);
      // It has carried requests before or carries others: that it breaks now need not be this request's doing.
      this.reused ||= this.requested;
    }
    this.requested = true;
    return this.carrier.http2.request(events);
  }

  private idle(): void {
    this.reused = true;
    if (this.retired) this.carrier.closeWhenIdle();
    else if (this.established) this.pool.wiring.deadlines.arm(this.deadline, this.pool.target.idleTimeoutMs);
  }

  /** Takes no new requests; closes after the last one. */
  retire(): void {
    if (this.retired) return;
    this.retired = true;
    this.pool.forget(this);
    if (this.streams === 0) this.carrier.drain();
  }

  private timedOut(): void {
    const { address, port, connectTimeoutMs } = this.pool.target;
    if (this.established) {
      this.retire();
      return;
    }
    this.failure = { code: "WEFT_CONNECT_TIMEOUT", detail: `${address}:${port} made no TLS connection within ${connectTimeoutMs} ms` };
    this.carrier.destroy(this.failure.detail);
  }

  private gone(): void {
    if (this.socketGone) return;
    this.socketGone = true;
    this.pool.wiring.deadlines.cancel(this.deadline);
    this.pool.forget(this);
  }
}
