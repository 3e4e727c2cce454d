import type { KubeObject } from "#api/resources/kube.ts";

/** One key for an object: kind, namespace ("" for cluster-wide kinds), name. */
export function keyOf(kind: string, namespace: string, name: string): string {
  return `${kind}|${namespace}|${name}`;
}

export function objectKey(object: KubeObject): string {
  return keyOf(object.kind, object.metadata.namespace ?? "", object.metadata.name);
}

/** "namespace/name". */
export function podKey(object: KubeObject): string {
  return `${object.metadata.namespace ?? "default"}/${object.metadata.name}`;
}

/** Order by bytes, the same whatever the locale. */
export function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether two values say the same as JSON: order of keys does not count, a field that is undefined is absent. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  }
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key in left) if (!sameValue(left[key], right[key])) return false;
  for (const key in right) if (right[key] !== undefined && left[key] === undefined) return false;
  return true;
}

/** JSON with sorted keys: equal values, equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => {
    if (typeof v !== "object" || v === null || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).sort(([a], [b]) => byteOrder(a, b)));
  });
}
