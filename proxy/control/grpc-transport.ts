import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "#api/clock.ts";
import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
  DiscoveryService,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { SystemClock } from "#runtime/clock.ts";
import { operatorTls } from "../identity/operator-tls.ts";
import type { CallEvents, GrpcCall } from "../protocol/grpc/call.ts";
import { type GrpcStatus, OK } from "../protocol/grpc/status.ts";
import { explain, GrpcChannel } from "./grpc-channel.ts";
import type { DiscoveryStream, DiscoveryStreamEvents, DiscoveryTransport } from "./transport.ts";

export interface GrpcTransportOptions {
  /** "address:port" of the operator's gRPC port. */
  readonly address: string;
  readonly trustDomain: string;
  /** Who we are now; null: nobody yet, and opening fails. */
  readonly identity: () => { readonly keyPem: string; readonly chainPem: string; readonly rootsPem: string } | null;
  /** Default: the real one. */
  readonly clock?: Clock;
}

/** One document is at most 100 endpoints or one Service's routes. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** What may wait for an operator that does not read: several times all subscriptions of a proxy. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;

const STREAM_PATH = `/${DiscoveryService.typeName}/${DiscoveryService.method.stream.name}`;

/**
 * Discovery streams over gRPC on mTLS, a connection of its own for each: TLS 1.3 with our SVID, and the
 * other end must be the operator by its SVID. Any gRPC client can do the same.
 */
export function grpcDiscoveryTransport(options: GrpcTransportOptions): DiscoveryTransport {
  const clock = options.clock ?? new SystemClock();
  return {
    open(events) {
      const identity = options.identity();
      if (identity === null) return closedAtOnce(events, "no identity yet");
      try {
        const tls = operatorTls({ trustDomain: options.trustDomain, ...identity });
        return new GrpcStream(new GrpcChannel({ address: options.address, tls, clock, messageBytesMax: MESSAGE_BYTES_MAX }), events);
      } catch (error) {
        return closedAtOnce(events, messageOf(error));
      }
    },
  };
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

class GrpcStream implements DiscoveryStream, CallEvents {
  private readonly channel: GrpcChannel;
  private readonly events: DiscoveryStreamEvents;
  private readonly call: GrpcCall;
  private waitingBytes = 0;
  private closed = false;

  constructor(channel: GrpcChannel, events: DiscoveryStreamEvents) {
    this.channel = channel;
    this.events = events;
    this.call = channel.call(STREAM_PATH, this);
  }

  send(request: DiscoveryRequest): void {
    const message = toBinary(DiscoveryRequestSchema, request);
    if (this.call.send(message)) return;
    this.waitingBytes += message.length;
    if (this.waitingBytes > WAITING_BYTES_MAX) this.channel.destroy("the operator does not read what it is sent");
  }

  close(): void {
    this.closed = true;
    this.call.cancel();
    this.channel.close();
  }

  onWritable(): void {
    this.waitingBytes = 0;
  }

  onMessage(message: Buffer): void {
    try {
      this.events.onMessage(fromBinary(DiscoveryResponseSchema, message));
    } catch (error) {
      this.end(messageOf(error));
    }
  }

  onEnd(status: GrpcStatus): void {
    this.end(status.code === OK ? "the operator ended the stream" : explain(status));
  }

  private end(reason: string): void {
    if (this.closed) return;
    this.close();
    this.events.onClosed(reason);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
