import type { KubeObject } from "#api/resources/kube.ts";
import { WEFT_GROUP } from "#api/resources/object.ts";
import type { ObjectRef, StatusWriter } from "#api/store.ts";
import { apply } from "./apply.ts";
import type { KubeClient } from "./client.ts";

/** Owner of the statuses that Weft's operator writes. Never to be changed: what was written under another name would stay for ever. */
export const STATUS_MANAGER = "weft-operator";

/** Writes statuses by server-side apply on /status. Only of Weft's own kinds: a route's status belongs to several controllers. */
export class KubeStatusWriter implements StatusWriter {
  readonly #client: KubeClient;
  readonly #current: (ref: ObjectRef) => KubeObject | null;

  /** `current`: the object as it was last seen, from the same copy that the status was planned from. */
  constructor(client: KubeClient, current: (ref: ObjectRef) => KubeObject | null) {
    this.#client = client;
    this.#current = current;
  }

  /**
   * An object that is gone, or whose name another has now, is no error. Rejects when the object is not the one that was
   * last seen (try again: it will have been seen by then), when the server refuses, or when it cannot be asked.
   */
  async write(ref: ObjectRef, status: unknown): Promise<void> {
    const { apiVersion, kind, namespace, name, uid } = ref;
    if (!apiVersion.startsWith(`${WEFT_GROUP}/`)) return;
    const current = this.#current(ref);
    if (current === null || current.metadata.uid !== uid) return;
    // The uid does not hold a status back (a real server ignores it there); the revision does.
    const { resourceVersion } = current.metadata;
    const metadata = { name, namespace, uid, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
    const object = { apiVersion, kind, metadata, status };
    const applied = await apply(this.#client, object, { fieldManager: STATUS_MANAGER, force: true, subresource: "status" });
    if (applied.outcome !== "applied" && applied.outcome !== "missing")
      throw new Error(`the status of ${kind} ${namespace}/${name} was not taken: ${applied.message}`);
  }
}
