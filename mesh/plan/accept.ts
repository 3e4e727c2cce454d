import { canHold, targetsOf } from "./attach.ts";
import type { DirtyKeys } from "./dirty.ts";
import { type Entry, essence, sameEssence } from "./entry.ts";
import { identityRefusal } from "./identity.ts";
import { objectKey, splitObjectKey } from "./keys.ts";
import { MESH, type MeshIdentitySpec, type TrafficPolicySpec } from "./kinds.ts";
import type { ResourceIndex } from "./resource-index.ts";

/** Which generations become "last good": those that can be acted on wherever they attach. */

/** Looks again at the policies whose status is dirty. */
export function acceptTouched(index: ResourceIndex, dirty: DirtyKeys): void {
  // The mesh's first: what it demands decides over the others.
  for (const status of [MESH_OBJECT, ...dirty.statuses]) {
    if (!dirty.statuses.has(status)) continue;
    const [kind, key] = splitObjectKey(status);
    const traffic = kind === "TrafficPolicy" ? index.traffic.get(key) : undefined;
    const identity = kind === "MeshIdentity" ? index.identities.get(key) : undefined;
    if (traffic !== undefined) acceptTraffic(index, traffic, dirty);
    if (identity !== undefined) acceptIdentity(index, identity, dirty);
  }
}

const MESH_OBJECT = objectKey("MeshIdentity", MESH);

function acceptTraffic(index: ResourceIndex, entry: Entry<TrafficPolicySpec>, dirty: DirtyKeys): void {
  const spec = entry.current;
  if (spec !== null && targetsOf(spec, entry.namespace).every((target) => canHold(index, spec, target))) accept(index, entry, dirty);
}

function acceptIdentity(index: ResourceIndex, entry: Entry<MeshIdentitySpec>, dirty: DirtyKeys): void {
  if (entry.current !== null && identityRefusal(index, entry) === null) accept(index, entry, dirty);
}

function accept(index: ResourceIndex, entry: Entry<unknown>, dirty: DirtyKeys): void {
  if (sameEssence(entry.lastGoodObject, entry.object)) return;
  const key = objectKey(entry.kind, entry.key);
  index.setLastGood(key, essence(entry.object));
  dirty.accepted.add(key);
}
