import type { Document, Endpoint, Endpoints } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { bad, type Refusal } from "./checks.ts";
import type { Entry } from "./entry.ts";

/** The endpoints of one Service port, whole, as one immutable version. */
export interface EndpointSet {
  readonly key: string;
  /** "" when the operator said that there is no such document: then the list is empty. */
  readonly version: string;
  readonly list: readonly Endpoint[];
}

/** Above this a document is refused: ten times the largest cluster that Kubernetes supports. */
export const ENDPOINTS_MAX = 100_000;

/** A state on its way: slices of one version are put together before anything of it is seen. */
export class Gathering {
  readonly version: string;
  readonly base: string;
  private readonly byAddress: Map<string, Endpoint>;

  /** `held`: what `base` names; null when the slices are the whole state. */
  constructor(version: string, base: string, held: ReadonlyMap<string, Endpoint> | null) {
    this.version = version;
    this.base = base;
    this.byAddress = new Map(held ?? []);
  }

  /** False when it grew beyond ENDPOINTS_MAX. Removing what is not there changes nothing. */
  add(slice: Endpoints): boolean {
    for (const address of slice.removals) this.byAddress.delete(address);
    for (const endpoint of slice.upserts) this.byAddress.set(addressOf(endpoint), endpoint);
    return this.byAddress.size <= ENDPOINTS_MAX;
  }

  finish(): Map<string, Endpoint> {
    return this.byAddress;
  }
}

/** What a slice brought: nothing yet, a whole state, or a refusal, perhaps with the need for the whole. */
export type SliceOutcome =
  | { readonly kind: "nothing" }
  | { readonly kind: "whole"; readonly gathering: Gathering }
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly askWhole: boolean };

const NOTHING: SliceOutcome = { kind: "nothing" };

/** Takes one message of an endpoints document that passed the checks. */
export function receiveSlice(entry: Entry, version: string, slice: Endpoints): SliceOutcome {
  if (slice.base !== "" && entry.awaitingWhole) return NOTHING;
  if (slice.base !== "" && (slice.base !== entry.version || entry.byAddress === null)) {
    const refusal = bad(`the difference is to ${slice.base}, held is ${entry.version === "" ? "none" : entry.version}`);
    return { kind: "refused", refusal, askWhole: true };
  }
  if (entry.gathering?.version !== version || entry.gathering.base !== slice.base) {
    entry.gathering = new Gathering(version, slice.base, slice.base === "" ? null : entry.byAddress);
  }
  const gathering = entry.gathering;
  if (!gathering.add(slice)) return { kind: "refused", refusal: bad("too many endpoints"), askWhole: false };
  if (slice.more) return NOTHING;
  entry.gathering = null;
  return { kind: "whole", gathering };
}

/** A slice was nacked: what follows of the same version must not be taken for a whole state. */
export function skipRest(entry: Entry, document: Document): void {
  entry.gathering = null;
  entry.skipping = document.body.case === "endpoints" && document.body.value.more ? document.version : null;
}

/** True for a slice of a version that was nacked at an earlier one. */
export function isSkipped(entry: Entry, document: Document): boolean {
  if (entry.skipping === null || entry.skipping !== document.version) return false;
  if (document.body.case === "endpoints" && !document.body.value.more) entry.skipping = null;
  return true;
}

/** As `removals` names an endpoint. IPv6 addresses stand without brackets, as in the document. */
export function addressOf(endpoint: Endpoint): string {
  return `${endpoint.address}:${endpoint.port}`;
}
