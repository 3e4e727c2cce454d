import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import { nameOf } from "./resource.ts";

/** A copy of all objects of a kind. Pure; says what each step changed, deletions first. */
export class Mirror {
  #objects = new Map<string, KubeObject>();

  get size(): number {
    return this.#objects.size;
  }

  objects(): IterableIterator<KubeObject> {
    return this.#objects.values();
  }

  /** Null: there is none of the name. */
  get(namespace: string, name: string): KubeObject | null {
    return this.#objects.get(`${namespace}/${name}`) ?? null;
  }

  /** One object as it is now. Of the same name and another uid: the earlier one is gone. */
  put(object: KubeObject): Change[] {
    const key = nameOf(object);
    const before = this.#objects.get(key);
    if (before !== undefined && isSame(before, object) && before.metadata.resourceVersion === object.metadata.resourceVersion) return [];
    this.#objects.set(key, object);
    const applied: Change = { type: "applied", object };
    return before === undefined || isSame(before, object) ? [applied] : [gone(before, object.metadata.resourceVersion ?? ""), applied];
  }

  /** The object is gone. One that is not here, or has another uid, was told of before. */
  remove(object: KubeObject): Change[] {
    const key = nameOf(object);
    const before = this.#objects.get(key);
    if (before === undefined || !isSame(before, object)) return [];
    this.#objects.delete(key);
    return [{ type: "deleted", object }];
  }

  /** Everything there is, as of `resourceVersion`. */
  replace(objects: readonly KubeObject[], resourceVersion: string): Change[] {
    const now = new Map(objects.map((object) => [nameOf(object), object] as const));
    const deleted: Change[] = [];
    for (const [key, before] of this.#objects) {
      const after = now.get(key);
      if (after === undefined || !isSame(before, after)) deleted.push(gone(before, resourceVersion));
    }
    const applied: Change[] = [];
    for (const [key, after] of now) {
      const before = this.#objects.get(key);
      const unchanged = before !== undefined && isSame(before, after) && before.metadata.resourceVersion === after.metadata.resourceVersion;
      if (!unchanged) applied.push({ type: "applied", object: after });
    }
    this.#objects = now;
    return [...deleted, ...applied];
  }
}

/** A name that was deleted and taken again is another object. */
function isSame(a: KubeObject, b: KubeObject): boolean {
  return a.metadata.uid === b.metadata.uid;
}

/** Nobody saw the deletion, only that by this revision it had happened: what is planned from it must not look older. */
function gone(object: KubeObject, resourceVersion: string): Change {
  const metadata = resourceVersion === "" ? object.metadata : { ...object.metadata, resourceVersion };
  return { type: "deleted", object: { ...object, metadata } };
}
