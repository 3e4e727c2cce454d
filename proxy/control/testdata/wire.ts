import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type DiscoveryRequest,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
  type Document,
  DocumentSchema,
  EndpointsSchema,
  MtlsMode,
  Protocol,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { DiscoveryStream, DiscoveryStreamEvents, DiscoveryTransport } from "../transport.ts";

/** Messages of a pretended operator, short to write. */

export const WORKLOAD = "workload/shop/web-1";
export const CART = "service/shop/cart/80";
export const CART_ENDPOINTS = "endpoints/shop/cart/80";
export const WEB_ID = "spiffe://cluster.local/ns/shop/sa/web";

type Body = MessageInitShape<typeof DocumentSchema>["body"];
type Extra = { version?: string; rv?: number; requires?: string[] };

export function document(key: string, body: Body, { version = "v1", rv = 1, requires = [] }: Extra = {}): Document {
  return create(DocumentSchema, { key, version, resourceVersion: BigInt(rv), requires, body } as MessageInitShape<typeof DocumentSchema>);
}

export function workload(extra: Extra = {}, change: object = {}): Document {
  const value = { namespace: "shop", pod: "web-1", serviceAccount: "web", spiffeId: WEB_ID, mtlsMode: MtlsMode.STRICT, ...change };
  return document(WORKLOAD, { case: "workload", value }, extra);
}

export function trust(roots: Uint8Array[], extra: Extra = {}, trustDomain = "cluster.local"): Document {
  return document("trust", { case: "trust", value: { trustDomain, roots } }, extra);
}

/** Service shop/<name>:80 with one cluster for each of `endpoints`. */
export function service(name: string, extra: Extra = {}, endpoints: string[] = [`endpoints/shop/${name}/80`], change: object = {}): Document {
  const clusters = endpoints.map((key) => ({ name: key, endpoints: key, connectTimeoutMs: 1000, idleTimeoutMs: 1000 }));
  const value = { namespace: "shop", name, port: 80, protocol: Protocol.HTTP, clusters, ...change };
  return document(`service/shop/${name}/80`, { case: "service", value }, extra);
}

/** "10.0.0.1" stands for port 8080 of it, meshed. */
export function endpoints(name: string, addresses: string[], extra: Extra = {}, delta: { base?: string; removals?: string[]; more?: boolean } = {}): Document {
  const upserts = addresses.map((address) => ({ address, port: 8080, spiffeId: "spiffe://cluster.local/ns/shop/sa/cart", ready: true }));
  return document(`endpoints/shop/${name}/80`, { case: "endpoints", value: create(EndpointsSchema, { upserts, ...delta }) }, extra);
}

/** As it comes off the wire: encoded and decoded, so that nothing is shared with the sender. */
export function told(value: Document): DiscoveryResponse {
  return overWire({ case: "document", value });
}

export function removed(key: string, rv: number): DiscoveryResponse {
  return overWire({ case: "removed", value: { key, resourceVersion: BigInt(rv) } });
}

export function current(key: string, version: string): DiscoveryResponse {
  return overWire({ case: "current", value: { key, version } });
}

export function goodbye(): DiscoveryResponse {
  return overWire({ case: "goodbye", value: { reason: "restart" } });
}

function overWire(message: MessageInitShape<typeof DiscoveryResponseSchema>["message"]): DiscoveryResponse {
  const init = { message } as MessageInitShape<typeof DiscoveryResponseSchema>;
  return fromBinary(DiscoveryResponseSchema, toBinary(DiscoveryResponseSchema, create(DiscoveryResponseSchema, init)));
}

/** One line a request, for transcripts. */
export function lineOf(request: DiscoveryRequest): string {
  const m = request.message;
  switch (m.case) {
    case "hello":
      return `hello ${m.value.pod}`;
    case "subscribe":
      return `subscribe ${m.value.documents.map((d) => `${d.key}${d.version === "" ? "" : `=${d.version}@${d.resourceVersion}`}`).join(" ")}`;
    case "unsubscribe":
      return `unsubscribe ${m.value.keys.join(" ")}`;
    case "ack":
      return `ack ${m.value.key} ${m.value.version}`;
    case "nack":
      return `nack ${m.value.key} ${m.value.version} ${m.value.code}: ${m.value.reason}`;
    default:
      return "nothing";
  }
}

/** A transport in memory: the test is the operator. */
export class PretendedOperator implements DiscoveryTransport {
  readonly streams: { sent: string[]; events: DiscoveryStreamEvents; closedByUs: boolean }[] = [];
  /** Set: `open` throws it. */
  failure: Error | null = null;

  open(events: DiscoveryStreamEvents): DiscoveryStream {
    if (this.failure !== null) throw this.failure;
    const stream = { sent: [] as string[], events, closedByUs: false };
    this.streams.push(stream);
    return {
      send: (request) => void stream.sent.push(lineOf(request)),
      close: () => {
        stream.closedByUs = true;
      },
    };
  }

  /** What was sent on the newest stream since the last call. */
  sent(): string[] {
    return this.streams.at(-1)?.sent.splice(0) ?? [];
  }

  say(...responses: DiscoveryResponse[]): void {
    for (const response of responses) this.streams.at(-1)!.events.onMessage(response);
  }

  end(reason = "ended"): void {
    this.streams.at(-1)!.events.onClosed(reason);
  }
}
