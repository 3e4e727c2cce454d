import { type Forwarded, forwardedFields, stripOwnFields } from "#mesh/decide/fields.ts";
import { normalizePath } from "#mesh/decide/path.ts";
import type { ClientEvents, ClientStream, ResponseHead } from "../protocol/stream.ts";
import type { ProxyError } from "./errors.ts";
import type { Attempt, AttemptFailure } from "./attempt.ts";
import type { Director, Exchange } from "./exchange.ts";
import type { Upstream } from "./upstream.ts";

/** What inbound knows of the connection that a request came on. */
export interface InboundPeer {
  /** SPIFFE id, verified; "" on a connection without TLS. */
  readonly id: string;
  /** Told to the application in x-forwarded-for and x-forwarded-client-cert. */
  readonly forwarded: Forwarded;
  /** The caller is a sidecar: REFUSED_STREAM makes it try elsewhere. */
  readonly sidecar: boolean;
}

export interface InboundApp {
  open(events: ClientEvents, upstream: { upstream: Upstream | null }): ClientStream;
}

export interface InboundDeps {
  nowMs(): number;
  /** The workload goes away: new requests are refused, so that callers go elsewhere. */
  draining(): boolean;
  /** The proxy holds all the bytes that it may: new requests are refused likewise. */
  overloaded(): boolean;
  request(x: Exchange, peer: InboundPeer, seconds: number): void;
  log(error: ProxyError, x: Exchange): void;
}

/**
 * Decides for the requests of one inbound connection, in this order: normalise the target, take out what
 * the client claims to be, put in what we know it is, pass to the application on its port.
 */
export class InboundDirector implements Director {
  private readonly peer: InboundPeer;
  private readonly app: InboundApp;
  private readonly deps: InboundDeps;

  constructor(peer: InboundPeer, app: InboundApp, deps: InboundDeps) {
    this.peer = peer;
    this.app = app;
    this.deps = deps;
  }

  admit(x: Exchange): ProxyError | null {
    if (this.deps.draining()) return { code: "WEFT_DRAINING", detail: "the pod is being deleted" };
    if (this.deps.overloaded()) return { code: "WEFT_OVERLOADED", detail: "the proxy's buffers are full" };
    const request = x.request;
    const normal = normalizePath(request.target);
    if ("refused" in normal) return { code: "WEFT_BAD_REQUEST", detail: normal.refused };
    request.target = normal.target;
    request.fields = forwardedFields(request.fields, this.peer.forwarded);
    return null;
  }

  connect(_x: Exchange, attempt: Attempt): ClientStream {
    return this.app.open(attempt, attempt);
  }

  retryAfter(x: Exchange, failure: AttemptFailure): number {
    // Not processed, or lost on a connection that the application may just have closed for idleness:
    // the caller's sidecar may try another endpoint, whatever the method (DESIGN section 6).
    x.plan = failure.unprocessed || failure.staleConnection;
    return -1;
  }

  respond(_x: Exchange, head: ResponseHead): void {
    head.fields = stripOwnFields(head.fields);
  }

  attempted(): void {}

  refuses(x: Exchange, error: ProxyError): boolean {
    return this.peer.sidecar && (x.plan === true || error.code === "WEFT_DRAINING" || error.code === "WEFT_OVERLOADED");
  }

  finish(x: Exchange): void {
    this.deps.request(x, this.peer, (this.deps.nowMs() - x.startedMs) / 1000);
    if (x.error !== null && x.error.status !== 499) this.deps.log(x.error, x);
  }
}
