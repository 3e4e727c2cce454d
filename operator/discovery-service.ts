import { Code, ConnectError } from "@connectrpc/connect";
import type { DiscoveryRequest, DiscoveryResponse } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Logger } from "#runtime/logger.ts";
import type { Hub, OpenStream } from "./hub.ts";
import type { PeerResult } from "./peer.ts";
import { rpcError } from "./rpc-error.ts";

/**
 * weft.discovery.v1.DiscoveryService.Stream: the shell around a Session. Responses are drawn only when the
 * transport took the one before (back-pressure down to the socket); requests are taken as they come.
 */
export async function* discoveryStream(
  hub: Hub,
  peer: PeerResult,
  requests: AsyncIterable<DiscoveryRequest>,
  signal: AbortSignal,
  logger: Logger,
): AsyncGenerator<DiscoveryResponse> {
  if ("refused" in peer) throw rpcError(Code.Unauthenticated, "WEFT_NO_SVID", peer.refused);
  const stream = hub.open(peer);
  const bell = new Bell();
  stream.wake = () => bell.ring();
  const disarm = hub.limitLife(stream);
  const onAbort = (): void => bell.ring();
  signal.addEventListener("abort", onAbort, { once: true });
  const incoming = new Incoming();
  void incoming.read(requests, stream, bell);
  try {
    while (!signal.aborted) {
      if (incoming.failure !== null) throw incoming.failure;
      const response = stream.session.next();
      if (response !== null) yield response;
      else if (stream.session.finished || incoming.ended) return;
      else await bell.rung();
    }
  } catch (error) {
    if (error instanceof ConnectError)
      logger.warn("a discovery stream was refused", { peer: peer.id, pod: stream.session.pod, reason: error.rawMessage });
    throw error;
  } finally {
    disarm();
    signal.removeEventListener("abort", onAbort);
    hub.close(stream);
  }
}

/** The reading half: feeds the session until the client ends or breaks the protocol. */
class Incoming {
  failure: ConnectError | null = null;
  ended = false;

  async read(requests: AsyncIterable<DiscoveryRequest>, stream: OpenStream, bell: Bell): Promise<void> {
    try {
      for await (const request of requests) {
        if (stream.session.finished) break;
        stream.session.receive(request);
        bell.ring();
      }
    } catch (error) {
      this.failure = ConnectError.from(error);
    }
    this.ended = true;
    bell.ring();
  }
}

/** Wakes the one who waits; a ring while nobody waits is kept. */
class Bell {
  #rang = false;
  #wake: (() => void) | null = null;

  ring(): void {
    this.#rang = true;
    this.#wake?.();
  }

  async rung(): Promise<void> {
    if (!this.#rang) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = null;
    }
    this.#rang = false;
  }
}
