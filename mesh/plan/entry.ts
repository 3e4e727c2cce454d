import type { KubeObject } from "#api/resources/kube.ts";
import { record, type Facts, readMeta, text } from "./facts.ts";
import type { Aged } from "./order.ts";
import { type Problem, validate } from "./validate.ts";

/**
 * A policy as the planner holds it: what it says now, if that can be acted on, and what it said when it last
 * could be. A generation that is refused leaves the last good one in force.
 */
export interface Entry<Spec> extends Facts, Aged {
  readonly kind: string;
  readonly object: KubeObject;
  readonly problems: readonly Problem[];
  /** Null: this generation is refused. */
  readonly current: Spec | null;
  readonly lastGood: Spec | null;
  readonly lastGoodObject: KubeObject | null;
}

/** Reads a policy beside its last good form. Null when its names are not Kubernetes names. */
export function readEntry<Spec>(object: KubeObject, lastGood: KubeObject | null): Entry<Spec> | null {
  const meta = readMeta(object);
  if (meta === null) return null;
  const problems = validate(object);
  // Validated again: it may have been stored by a version of Weft that knew more.
  const usable = lastGood !== null && sameObject(object, lastGood) && validate(lastGood).length === 0;
  return {
    ...meta,
    kind: object.kind,
    createdAt: text(record(object.metadata)["creationTimestamp"]),
    object,
    problems,
    current: problems.length === 0 ? (object.spec as Spec) : null,
    lastGood: usable ? (lastGood.spec as Spec) : null,
    lastGoodObject: usable ? lastGood : null,
  };
}

/** The same policy, from now on with what it says now as its last good generation. */
export function withLastGood<Spec>(entry: Entry<Spec>, object: KubeObject): Entry<Spec> {
  return { ...entry, lastGood: entry.current, lastGoodObject: object };
}

/** What is stored as last good: no status and no bookkeeping, so that writing a status does not change it. */
export function essence(object: KubeObject): KubeObject {
  const { name, namespace, uid, generation, creationTimestamp } = object.metadata;
  const metadata = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(generation === undefined ? {} : { generation }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
  };
  return { apiVersion: object.apiVersion, kind: object.kind, metadata, spec: object.spec };
}

/** Whether two essences say the same. */
export function sameEssence(a: KubeObject | null, b: KubeObject): boolean {
  return a !== null && JSON.stringify(essence(a)) === JSON.stringify(essence(b));
}

/** False when one was deleted and the other made anew under its name. */
function sameObject(a: KubeObject, b: KubeObject): boolean {
  const left = record(a.metadata)["uid"];
  const right = record(b.metadata)["uid"];
  return a.kind === b.kind && (left === undefined || right === undefined || left === right);
}
