import type { Entry } from "./entry.ts";
import { labels, selects } from "./facts.ts";
import { identityRefusal, isNamespaceWide, specInForce } from "./identity.ts";
import { workloadKey } from "./keys.ts";
import { MESH, type MeshIdentitySpec } from "./kinds.ts";
import { oldestFirst } from "./order.ts";
import type { ResourceIndex } from "./resource-index.ts";
import { accepted, ancestorStatus, conditionStatus, type PlannedStatus, refused, refusedByItself, whatHolds } from "./status.ts";
import { writtenTargets } from "./status-traffic.ts";

export function planIdentityStatus(index: ResourceIndex, entry: Entry<MeshIdentitySpec>): PlannedStatus {
  const own = refusedByItself(entry, entry.lastGood !== null);
  if (own !== null) return conditionStatus(entry.object, [own], []);
  const refusal = identityRefusal(index, entry);
  if (refusal !== null) return conditionStatus(entry.object, [refused("Invalid", [refusal], whatHolds(entry))], []);
  const older = olderForNamespace(index, entry);
  if (older !== null) {
    const why = older.createdAt === entry.createdAt ? "comes first by name" : "is older";
    const message = `MeshIdentity ${older.key}, which ${why}, speaks for the whole namespace already`;
    return conditionStatus(
      entry.object,
      [refused("Conflicted", [{ path: "spec.selector", message, remedy: "merge the two or add a selector" }])],
      [],
    );
  }
  return conditionStatus(entry.object, [accepted()], carriers(index, entry));
}

/** Kinds that are refused whole. A policy with targets says so on each of them. */
export function planRefusedStatus(entry: Entry<never>): PlannedStatus {
  const condition =
    refusedByItself(entry, false) ?? refused("UnsupportedField", [{ path: "kind", message: "is not acted on", remedy: "remove it" }]);
  if (entry.kind !== "AccessPolicy") return conditionStatus(entry.object, [condition], []);
  return ancestorStatus(
    entry.object,
    writtenTargets(entry).map((ancestorRef) => ({ ancestorRef, conditions: [condition], documents: [] })),
  );
}

/** Another MeshIdentity without selector that wins the same namespace. Such with a selector never conflict: they only order themselves by age. */
function olderForNamespace(index: ResourceIndex, entry: Entry<MeshIdentitySpec>): Entry<MeshIdentitySpec> | null {
  if (entry.key === MESH || entry.current === null || !isNamespaceWide(entry.current)) return null;
  const rivals = [...index.identities.at(index.identitiesInNamespace, entry.namespace)].filter((rival) => {
    const spec = rival.key === MESH ? null : specInForce(index, rival);
    return spec?.mtls !== undefined && isNamespaceWide(spec);
  });
  const [first] = rivals.sort(oldestFirst);
  return first === undefined || oldestFirst(first, entry) >= 0 ? null : first;
}

function carriers(index: ResourceIndex, entry: Entry<MeshIdentitySpec>): string[] {
  const selector = labels(entry.current?.selector?.matchLabels);
  const pods = entry.key === MESH ? index.pods.values() : index.pods.at(index.podsInNamespace, entry.namespace);
  return [...pods].filter((pod) => pod.meshed && selects(selector, pod.labels)).map((pod) => workloadKey(pod.key));
}
