import type { KubeObject } from "#api/resources/kube.ts";
import type { Attested, Attestor, ObjectRef, Source, SourceEvents, StatusWriter } from "#api/store.ts";

/** A resource store in this process, for tests of whatever takes the interfaces of `api/store.ts`. */
export class MemoryStore implements Source, StatusWriter, Attestor {
  readonly written: { readonly ref: ObjectRef; readonly status: unknown }[] = [];
  /** When set, `write` and `attest` reject with it. */
  failure: Error | null = null;
  readonly #objects = new Map<string, KubeObject>();
  readonly #tokens = new Map<string, Attested>();
  #events: SourceEvents | null = null;
  #revision = 0;
  #connected = true;

  start(events: SourceEvents): void {
    this.#events = events;
    events.onConnected(true);
    events.onSync([...this.#objects.values()], String(this.#revision));
  }

  close(): void {
    this.#events = null;
  }

  /** Creates or replaces; uid, generation and resourceVersion are kept as an API server does. */
  apply(object: KubeObject): void {
    const key = keyOf(object);
    const before = this.#objects.get(key);
    const sameSpec = before !== undefined && JSON.stringify(before.spec) === JSON.stringify(object.spec);
    const generation = before === undefined ? 1 : (before.metadata.generation ?? 1) + (sameSpec ? 0 : 1);
    const metadata = {
      creationTimestamp: "2026-01-01T00:00:00Z",
      ...object.metadata,
      uid: before?.metadata.uid ?? `uid-${key}-${this.#revision}`,
      generation,
      resourceVersion: String(++this.#revision),
    };
    const stored: KubeObject = {
      ...object,
      metadata,
      ...(before?.status === undefined || object.status !== undefined ? {} : { status: before.status }),
    };
    this.#objects.set(key, stored);
    if (this.#connected) this.#events?.onChange({ type: "applied", object: stored });
  }

  delete(object: KubeObject): void {
    const before = this.#objects.get(keyOf(object));
    if (before === undefined) return;
    this.#objects.delete(keyOf(object));
    const metadata = { ...before.metadata, resourceVersion: String(++this.#revision) };
    if (this.#connected) this.#events?.onChange({ type: "deleted", object: { ...before, metadata } });
  }

  get(kind: string, namespace: string, name: string): KubeObject | undefined {
    return this.#objects.get(`${kind}/${namespace}/${name}`);
  }

  /** The store goes away: changes are not told until `reconnect`. */
  disconnect(): void {
    this.#connected = false;
    this.#events?.onConnected(false);
  }

  reconnect(): void {
    this.#connected = true;
    this.#events?.onConnected(true);
    this.#events?.onSync([...this.#objects.values()], String(this.#revision));
  }

  async write(ref: ObjectRef, status: unknown): Promise<void> {
    if (this.failure !== null) throw this.failure;
    const before = this.#objects.get(`${ref.kind}/${ref.namespace}/${ref.name}`);
    if (before === undefined || before.metadata.uid !== ref.uid) return;
    this.written.push({ ref, status });
    this.apply({ ...before, status });
  }

  grant(token: string, attested: Attested): void {
    this.#tokens.set(token, attested);
  }

  async attest(token: string): Promise<Attested | null> {
    if (this.failure !== null) throw this.failure;
    return this.#tokens.get(token) ?? null;
  }
}

function keyOf(object: KubeObject): string {
  return `${object.kind}/${object.metadata.namespace ?? "default"}/${object.metadata.name}`;
}
