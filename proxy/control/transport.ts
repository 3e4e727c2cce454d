import type { DiscoveryRequest, DiscoveryResponse } from "#api/gen/weft/discovery/v1/discovery_pb.ts";

/** Carries discovery streams: over gRPC on our own HTTP/2 engine, in memory in tests. */
export interface DiscoveryTransport {
  /**
   * Opens one stream with the identity of the moment. Requests may be sent at once; they wait for the connection. `onClosed` is
   * called exactly once, never before `open` has returned, and not after `close`.
   */
  open(events: DiscoveryStreamEvents): DiscoveryStream;
}

export interface DiscoveryStream {
  send(request: DiscoveryRequest): void;
  /** Ends the stream and its connection. No event follows. */
  close(): void;
}

export interface DiscoveryStreamEvents {
  onMessage(response: DiscoveryResponse): void;
  /** The stream ended, whoever ended it. The reason is for logs. */
  onClosed(reason: string): void;
}
