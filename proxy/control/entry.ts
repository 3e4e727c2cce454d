import { create } from "@bufbuild/protobuf";
import { type Document, DocumentSchema, type Endpoint } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { CompiledService } from "#mesh/decide/compile.ts";
import type { Refusal } from "./checks.ts";
import type { EndpointSet, Gathering } from "./endpoints.ts";
import type { Kind } from "./keys.ts";

/** A service document in force: immutable. An exchange reads it once, at its head. */
export interface ServiceSnapshot {
  readonly key: string;
  readonly version: string;
  readonly service: CompiledService;
}

/** A service document that was understood. */
export interface CompiledDocument {
  readonly document: Document;
  readonly snapshot: ServiceSnapshot;
  /** Keys of the endpoints documents that it names. */
  readonly refers: readonly string[];
}

/** All that the session knows of one document. */
export interface Entry {
  readonly key: string;
  readonly kind: Kind;
  /** False: unsubscribed as idle, and kept as last-good. */
  wanted: boolean;
  /** Of what is held; "" for nothing. */
  version: string;
  /** Of what is held or was removed; 0 for neither. */
  resourceVersion: bigint;
  /** The operator said that there is none. */
  absent: boolean;
  /** It said so on the stream that is open now. */
  removedHere: boolean;
  /** What is held. Null for endpoints, which are made into a document when needed. */
  document: Document | null;
  /** What is held, as it goes to disk; null until it is asked for. */
  encoded: Uint8Array | null;
  usedTick: number;
  /** The whole state was asked for: differences that still arrive are to something that we do not hold. */
  awaitingWhole: boolean;
  // Of a service.
  snapshot: ServiceSnapshot | null;
  refers: readonly string[];
  /** Waits for endpoints documents. */
  pending: CompiledDocument | null;
  /** It was idle, so what is held may be old: wait for word from the operator. */
  stale: boolean;
  /** Endpoints documents that count this service among those that name them. */
  referred: ReadonlySet<string>;
  // Of endpoints.
  endpoints: EndpointSet | null;
  byAddress: ReadonlyMap<string, Endpoint> | null;
  gathering: Gathering | null;
  /** Version that was nacked at one of its slices: the rest of them is no whole. */
  skipping: string | null;
}

const NONE: ReadonlySet<string> = new Set();

export function newEntry(key: string, kind: Kind, usedTick: number, wanted = true): Entry {
  return {
    key,
    kind,
    wanted,
    version: "",
    resourceVersion: 0n,
    absent: false,
    removedHere: false,
    document: null,
    encoded: null,
    usedTick,
    awaitingWhole: false,
    snapshot: null,
    refers: [],
    pending: null,
    stale: false,
    referred: NONE,
    endpoints: null,
    byAddress: null,
    gathering: null,
    skipping: null,
  };
}

export function hold(entry: Entry, document: Document): void {
  entry.version = document.version;
  entry.resourceVersion = document.resourceVersion;
  entry.document = document;
  entry.encoded = null;
  entry.absent = false;
  entry.awaitingWhole = false;
}

/** The operator said that there is no such service or port. */
export function holdNothing(entry: Entry, resourceVersion: bigint): void {
  entry.version = "";
  entry.resourceVersion = resourceVersion;
  entry.absent = true;
  entry.removedHere = true;
  entry.document = null;
  entry.encoded = null;
  entry.awaitingWhole = false;
  entry.snapshot = null;
  entry.refers = [];
  entry.pending = null;
  entry.stale = false;
  entry.byAddress = null;
  entry.gathering = null;
}

/** A service as its user sees it: null when there is none, undefined when that is not known. */
export function inForce(entry: Entry): ServiceSnapshot | null | undefined {
  if (entry.absent) return null;
  return entry.stale ? undefined : (entry.snapshot ?? undefined);
}

/**
 * Why a version must not replace what is held or was removed. A removal carries the highest version of all that its replica has
 * seen, not of one document: what the same replica sends after it is newer, whatever its number.
 */
export function staleness(entry: Entry, document: Document): Refusal | null {
  if (document.resourceVersion >= entry.resourceVersion || (entry.absent && entry.removedHere)) return null;
  return { code: "WEFT_STALE_DOCUMENT", reason: `resource version ${document.resourceVersion} is lower than ${entry.resourceVersion}` };
}

/** What is held, as one document. */
export function documentOf(entry: Entry): Document {
  if (entry.document !== null) return entry.document;
  const { key, version, resourceVersion, byAddress } = entry;
  return create(DocumentSchema, {
    key,
    version,
    resourceVersion,
    body: { case: "endpoints", value: { upserts: [...(byAddress?.values() ?? [])] } },
  });
}
