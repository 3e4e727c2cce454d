import type { KubeObject } from "./resources/kube.ts";

/**
 * How the operator sees resources, whoever keeps them: the Kubernetes API server or the standalone runner.
 * Levels, not edges: a change carries the whole object, and a source may send the same object twice.
 */
export interface Source {
  /**
   * Calls `onSync` with everything there is, then `onChange` for every change after it; after a lost
   * connection `onSync` is called again. Never rejects: it retries with backoff until `close`.
   */
  start(events: SourceEvents): void;
  close(): void;
}

export interface SourceEvents {
  /**
   * `revision`: the store's own revision of this listing, where it has one (a list's metadata.resourceVersion). Needed
   * because the newest change may have been a deletion, which no object in the listing shows.
   */
  onSync(objects: readonly KubeObject[], revision?: string): void;
  onChange(change: Change): void;
  /** The store cannot be reached (false) or can be again (true). What was planned stays in force. */
  onConnected(connected: boolean): void;
}

export type Change = { readonly type: "applied" | "deleted"; readonly object: KubeObject };

/** Writes the status of one object; the newest wins. */
export interface StatusWriter {
  write(ref: ObjectRef, status: unknown): Promise<void>;
}

export interface ObjectRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** Who holds a token; see DESIGN section 7. */
export interface Attestor {
  /** Null: the token proves nothing (expired, other audience, pod gone). Rejects when it cannot be checked now. */
  attest(token: string): Promise<Attested | null>;
}

export interface Attested {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** "" when the token is bound to no pod (`weft identity fetch --service-account`). */
  readonly pod: string;
  readonly podUid: string;
}
