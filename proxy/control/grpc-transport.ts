import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { type DiscoveryRequest, DiscoveryService } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { operatorTls } from "../identity/operator-tls.ts";
import type { DiscoveryStream, DiscoveryStreamEvents, DiscoveryTransport } from "./transport.ts";

export interface GrpcTransportOptions {
  /** "address:port" of the operator's gRPC port. */
  readonly address: string;
  readonly trustDomain: string;
  /** Who we are now; null: nobody yet, and opening fails. */
  readonly identity: () => { readonly keyPem: string; readonly chainPem: string; readonly rootsPem: string } | null;
}

/** A dead connection is noticed within 13 s (Linkerd's values); any byte received counts as life. */
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 3_000;
/** One document is at most 100 endpoints or one Service's routes. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Discovery streams over gRPC on mTLS, a connection of its own for each: TLS 1.3 with our SVID, and the
 * other end must be the operator by its SVID. Any gRPC client can do the same.
 */
export function grpcDiscoveryTransport(options: GrpcTransportOptions): DiscoveryTransport {
  return { open: (events) => openStream(options, events) };
}

function openStream(options: GrpcTransportOptions, events: DiscoveryStreamEvents): DiscoveryStream {
  const identity = options.identity();
  if (identity === null) return closedAtOnce(events, "no identity yet");
  const baseUrl = `https://${options.address}`;
  const sessionManager = new Http2SessionManager(
    baseUrl,
    { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS },
    operatorTls({ trustDomain: options.trustDomain, ...identity }),
  );
  const client = createClient(DiscoveryService, createGrpcTransport({ baseUrl, sessionManager, readMaxBytes: MESSAGE_BYTES_MAX }));
  const requests = new RequestQueue();
  const abort = new AbortController();
  let closed = false;
  const end = (): void => {
    closed = true;
    requests.end();
    abort.abort();
    sessionManager.abort();
  };
  const run = async (): Promise<void> => {
    let reason = "the operator ended the stream";
    // Whatever fails at once must not be told of before `open` has returned.
    await null;
    try {
      for await (const response of client.stream(requests, { signal: abort.signal })) {
        if (closed) return;
        events.onMessage(response);
      }
    } catch (error) {
      reason = reasonOf(error);
    }
    if (closed) return;
    end();
    events.onClosed(reason);
  };
  void run();
  return { send: (request) => requests.push(request), close: end };
}

function closedAtOnce(events: DiscoveryStreamEvents, reason: string): DiscoveryStream {
  let closed = false;
  queueMicrotask(() => {
    if (!closed) events.onClosed(reason);
  });
  return {
    send: () => {},
    close: () => {
      closed = true;
    },
  };
}

/** The innermost cause says most: "connect ECONNREFUSED", or what checkServerIdentity found. */
function reasonOf(error: unknown): string {
  const connect = ConnectError.from(error);
  const cause = connect.cause;
  return cause instanceof Error && !connect.rawMessage.includes(cause.message)
    ? `${connect.rawMessage} (${cause.message})`
    : connect.rawMessage;
}

/** What is to be sent, as the async iterable that connect wants: one reader, in order. */
class RequestQueue implements AsyncIterable<DiscoveryRequest> {
  private readonly waiting: DiscoveryRequest[] = [];
  private ended = false;
  private wake: () => void = () => {};

  push(request: DiscoveryRequest): void {
    this.waiting.push(request);
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<DiscoveryRequest> {
    while (!this.ended) {
      const next = this.waiting.shift();
      if (next !== undefined) yield next;
      else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }
}
