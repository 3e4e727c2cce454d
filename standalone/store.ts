import type { Clock } from "#api/clock.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change, ObjectRef } from "#api/store.ts";
import { byteOrder, keyOf, objectKey, sameValue } from "./keys.ts";

/**
 * The objects of a run, as an API server keeps them: uid, one growing resourceVersion, generation that counts
 * changes of what the user wrote, creationTimestamp in whole seconds. Applying what is already there is no change.
 */
export class ObjectStore {
  /** By kind, then by `keyOf`. */
  private readonly kinds = new Map<string, Map<string, KubeObject>>();
  private readonly listeners = new Set<(change: Change) => void>();
  private version = 0;
  private readonly clock: Clock;
  private readonly newUid: () => string;

  constructor(clock: Clock, newUid: () => string) {
    this.clock = clock;
    this.newUid = newUid;
  }

  /** The newest resourceVersion that was given out, of a deletion too; "0" at first. */
  get revision(): string {
    return String(this.version);
  }

  get(kind: string, namespace: string, name: string): KubeObject | undefined {
    return this.kinds.get(kind)?.get(keyOf(kind, namespace, name));
  }

  /** Sorted by kind, namespace and name. */
  list(kind?: string): KubeObject[] {
    if (kind === undefined) return [...this.kinds.keys()].sort().flatMap((each) => this.list(each));
    return [...(this.kinds.get(kind) ?? [])].sort(([a], [b]) => byteOrder(a, b)).map(([, o]) => o);
  }

  /** Everything after what `list` says now; the returned function ends it. */
  subscribe(listener: (change: Change) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Creates or updates. Status and deletionTimestamp are not touched: `setStatus` and `markDeleting` do that. */
  apply(object: KubeObject): KubeObject {
    const before = this.kinds.get(object.kind)?.get(objectKey(object));
    if (before === undefined) {
      const created = { uid: this.newUid(), generation: 1, creationTimestamp: this.now() };
      return this.keep({ ...object, metadata: { ...object.metadata, ...created } });
    }
    const old = withoutBookkeeping(before);
    const now = withoutBookkeeping(object);
    if (sameValue(old, now)) return before;
    const { metadata: _m, ...specBefore } = old;
    const { metadata: _n, ...specAfter } = now;
    const { uid, generation = 1, creationTimestamp, deletionTimestamp } = before.metadata;
    const metadata = {
      ...object.metadata,
      ...(uid === undefined ? {} : { uid }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
      generation: sameValue(specBefore, specAfter) ? generation : generation + 1,
    };
    return this.keep({ ...object, metadata, ...(before.status === undefined ? {} : { status: before.status }) });
  }

  /** False: the object is gone, or is another one of the same name. */
  setStatus(ref: Pick<ObjectRef, "kind" | "namespace" | "name"> & { readonly uid?: string }, status: unknown): boolean {
    const before = this.get(ref.kind, ref.namespace, ref.name);
    if (before === undefined || (ref.uid !== undefined && ref.uid !== before.metadata.uid)) return false;
    if (!sameValue(before.status, status)) this.keep({ ...before, status });
    return true;
  }

  markDeleting(kind: string, namespace: string, name: string): void {
    const before = this.get(kind, namespace, name);
    if (before === undefined || before.metadata.deletionTimestamp !== undefined) return;
    this.keep({ ...before, metadata: { ...before.metadata, deletionTimestamp: this.now() } });
  }

  remove(kind: string, namespace: string, name: string): void {
    const before = this.get(kind, namespace, name);
    if (before === undefined) return;
    this.kinds.get(kind)?.delete(keyOf(kind, namespace, name));
    this.version++;
    this.tell({ type: "deleted", object: { ...before, metadata: { ...before.metadata, resourceVersion: String(this.version) } } });
  }

  private keep(object: KubeObject): KubeObject {
    this.version++;
    const kept = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.version) } };
    let ofKind = this.kinds.get(kept.kind);
    if (ofKind === undefined) this.kinds.set(kept.kind, (ofKind = new Map()));
    ofKind.set(objectKey(kept), kept);
    this.tell({ type: "applied", object: kept });
    return kept;
  }

  private tell(change: Change): void {
    for (const listener of [...this.listeners]) listener(change);
  }

  private now(): string {
    return `${new Date(this.clock.wallMs()).toISOString().slice(0, 19)}Z`;
  }
}

function withoutBookkeeping(object: KubeObject): Omit<KubeObject, "status"> {
  const { status: _, ...rest } = object as KubeObject & { status?: unknown };
  const { uid: _u, resourceVersion: _r, generation: _g, creationTimestamp: _c, deletionTimestamp: _d, ...metadata } = object.metadata;
  return { ...rest, metadata };
}
