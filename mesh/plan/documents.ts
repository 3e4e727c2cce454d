import type { Endpoints, Service, Workload } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Feature } from "#api/ports.ts";

/**
 * A document without its version: that is a hash of the encoded body, and encoding is the operator's. The body is a
 * fresh message; whoever gets it may keep it and must not change it.
 */
export interface PlannedDocument {
  readonly key: string;
  /** Highest of all that it was planned from. */
  readonly resourceVersion: bigint;
  /** Sorted. */
  readonly requires: readonly Feature[];
  readonly body: Workload | Service | Endpoints;
}

/** Collects the highest resourceVersion of what a plan has looked at. */
export class Newest {
  #value: bigint;

  constructor(value: bigint) {
    this.#value = value;
  }

  see(...seen: readonly { readonly resourceVersion: bigint }[]): void {
    for (const { resourceVersion } of seen) if (resourceVersion > this.#value) this.#value = resourceVersion;
  }

  get value(): bigint {
    return this.#value;
  }
}
