import { create } from "@bufbuild/protobuf";
import { TrustSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import {
  type DirtyKeys,
  type MeshSettings,
  type PlannedDocument,
  type PlannedStatus,
  planDocument,
  planMesh,
  planStatus,
  ResourceIndex,
} from "#mesh/plan/plan.ts";
import type { DocumentBody, Planned } from "./encode.ts";

export const TRUST_KEY = "trust";

/** The indexed store of resources, and what the planner says of it. */
export class Resources {
  readonly index = new ResourceIndex();
  #revision = 0n;
  #trust: { readonly trustDomain: string; readonly roots: readonly Uint8Array[] } | null = null;

  /** Highest revision of any object seen. */
  get revision(): bigint {
    return this.#revision;
  }

  mesh(): MeshSettings {
    return planMesh(this.index);
  }

  /** What `trust` documents say. Null until the CA is open: then there is no such document. */
  setTrust(trustDomain: string, roots: readonly Uint8Array[]): void {
    this.#trust = { trustDomain, roots };
  }

  /** Takes a whole listing. `revision` is the store's own, "" when it tells none: then the newest object's. */
  replace(objects: readonly KubeObject[], lastGood: ReadonlyMap<string, KubeObject> | null, revision = ""): DirtyKeys {
    for (const object of objects) this.#see(object.metadata.resourceVersion);
    this.#see(revision);
    // No document may be older than one that was planned before a restart, from an object that is deleted by now.
    const listRevision = String(this.#revision);
    return this.index.replace(objects, lastGood === null ? { listRevision } : { lastGood, listRevision });
  }

  apply(change: Change): DirtyKeys {
    this.#see(change.object.metadata.resourceVersion);
    return this.index.apply(change);
  }

  /** Null: there is no such document, or the key is none. */
  plan(key: string): Planned | null {
    if (key === TRUST_KEY) return this.#planTrust();
    const planned = planDocument(this.index, key);
    return planned === null ? null : { ...planned, body: bodyOf(planned.body) };
  }

  /** Null: the object is gone, or nothing is said of its kind. */
  planStatus(key: string): PlannedStatus | null {
    return planStatus(this.index, key);
  }

  /** What the store says of a policy's status now. */
  storedStatus(key: string): unknown {
    const [kind, ...name] = key.split("/");
    const table = kind === "TrafficPolicy" ? this.index.traffic : this.index.identities;
    const refused = this.index.refused.get(key)?.entry.object;
    return (refused ?? table.get(name.join("/"))?.object)?.status;
  }

  services(): number {
    return this.index.services.size;
  }

  endpoints(): number {
    let count = 0;
    for (const slice of this.index.slices.values()) count += slice.endpoints.length;
    return count;
  }

  #planTrust(): Planned | null {
    if (this.#trust === null) return null;
    const value = create(TrustSchema, { trustDomain: this.#trust.trustDomain, roots: [...this.#trust.roots] });
    // Made by the CA, from no object: any replica's roots are as new as its store.
    return { key: TRUST_KEY, resourceVersion: 0n, requires: [], body: { case: "trust", value } };
  }

  #see(revision: string | undefined): void {
    const text = revision ?? "";
    const seen = /^\d{1,20}$/.test(text) ? BigInt(text) : 0n;
    if (seen > this.#revision) this.#revision = seen;
  }
}

function bodyOf(body: PlannedDocument["body"]): DocumentBody {
  switch (body.$typeName) {
    case "weft.discovery.v1.Workload":
      return { case: "workload", value: body };
    case "weft.discovery.v1.Service":
      return { case: "service", value: body };
    case "weft.discovery.v1.Endpoints":
      return { case: "endpoints", value: body };
  }
}
