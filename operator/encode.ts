import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  type DiscoveryResponse,
  DiscoveryResponseSchema,
  type Document,
  DocumentSchema,
  type Endpoint,
  EndpointSchema,
  EndpointsSchema,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";

/** Most endpoints in one message (discovery.proto). */
export const SLICE_MAX = 100;

/** Octets of SHA-256 that make a version: 96 bits, 16 characters. */
const VERSION_OCTETS = 12;

/** DiscoveryResponse.document. */
const DOCUMENT_FIELD = 1;

export type DocumentBody = Exclude<Document["body"], { case: undefined }>;

/** What the planner says a key means now. */
export interface Planned {
  readonly key: string;
  readonly resourceVersion: bigint;
  readonly requires: readonly string[];
  readonly body: DocumentBody;
}

/** An endpoint and its wire form; the same object in every version in which it did not change. */
export interface EndpointRecord {
  readonly endpoint: Endpoint;
  readonly bytes: Uint8Array;
}

export type EndpointMap = ReadonlyMap<string, EndpointRecord>;

/** One version of a document, encoded once for all streams. */
export interface Encoded {
  readonly key: string;
  readonly version: string;
  readonly resourceVersion: bigint;
  /** To be sent in this order: one, or the slices of a large endpoints document. */
  readonly messages: readonly DiscoveryResponse[];
  /** By "address:port"; null for documents that have no deltas. */
  readonly endpoints: EndpointMap | null;
  /** SVID that a workload document belongs to; null for all others. */
  readonly owner: string | null;
}

/** Encodes a planned document. `previous` lends its endpoint records, so that a history costs references only. */
export function encode(planned: Planned, previous: Encoded | null): Encoded {
  if (planned.body.case === "endpoints") return encodeEndpoints(planned, planned.body.value.upserts, previous);
  const version = versionOf(toBinary(DocumentSchema, create(DocumentSchema, { requires: [...planned.requires], body: planned.body })));
  return {
    key: planned.key,
    version,
    resourceVersion: planned.resourceVersion,
    messages: [share(planned, version, planned.body)],
    endpoints: null,
    owner: planned.body.case === "workload" ? planned.body.value.spiffeId : null,
  };
}

/** The difference between two versions as one message; null when it is too large for one. */
export function encodeDelta(
  planned: Pick<Planned, "key" | "resourceVersion" | "requires">,
  base: string,
  from: EndpointMap,
  to: EndpointMap,
  version: string,
): DiscoveryResponse | null {
  const upserts: Endpoint[] = [];
  for (const [address, record] of to) if (from.get(address) !== record) upserts.push(record.endpoint);
  const removals = [...from.keys()].filter((address) => !to.has(address));
  if (upserts.length + removals.length > SLICE_MAX) return null;
  return share(planned, version, { case: "endpoints", value: create(EndpointsSchema, { base, upserts, removals }) });
}

function encodeEndpoints(planned: Planned, endpoints: readonly Endpoint[], previous: Encoded | null): Encoded {
  const sorted = endpoints
    .map((endpoint) => ({ address: `${endpoint.address}:${endpoint.port}`, endpoint }))
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  const map = new Map<string, EndpointRecord>();
  const hash = createHash("sha256").update(planned.requires.join(","));
  for (const { address, endpoint } of sorted) {
    const bytes = toBinary(EndpointSchema, endpoint);
    const before = previous?.endpoints?.get(address);
    map.set(address, before !== undefined && Buffer.compare(before.bytes, bytes) === 0 ? before : { endpoint, bytes });
    // The length keeps two lists from running into the same bytes.
    hash.update(`\n${bytes.length}\n`).update(bytes);
  }
  const version = hash.digest().subarray(0, VERSION_OCTETS).toString("base64url");
  const all = [...map.values()].map((record) => record.endpoint);
  const messages: DiscoveryResponse[] = [];
  for (let at = 0; at === 0 || at < all.length; at += SLICE_MAX) {
    const value = create(EndpointsSchema, { upserts: all.slice(at, at + SLICE_MAX), more: at + SLICE_MAX < all.length });
    messages.push(share(planned, version, { case: "endpoints", value }));
  }
  return { key: planned.key, version, resourceVersion: planned.resourceVersion, messages, endpoints: map, owner: null };
}

/**
 * A response whose document is bytes already. protobuf-es writes unknown fields as they stand (tag, then `data`
 * with its own length), so the wire form is that of an ordinary message and each stream costs one copy of bytes.
 */
function share(planned: Pick<Planned, "key" | "resourceVersion" | "requires">, version: string, body: DocumentBody): DiscoveryResponse {
  const { key, resourceVersion, requires } = planned;
  const document = create(DocumentSchema, { key, version, resourceVersion, requires: [...requires], body });
  const response = create(DiscoveryResponseSchema);
  response.$unknown = [
    { no: DOCUMENT_FIELD, wireType: WireType.LengthDelimited, data: new BinaryWriter().bytes(toBinary(DocumentSchema, document)).finish() },
  ];
  return response;
}

function versionOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest().subarray(0, VERSION_OCTETS).toString("base64url");
}
