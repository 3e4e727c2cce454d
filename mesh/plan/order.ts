/** Byte order of ASCII texts, for `sort`. Never localeCompare: the result must not depend on the machine's locale. */
export function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What decides between objects that claim the same thing (GEP-713): age, then name. */
export interface Aged {
  /** "namespace/name". */
  readonly key: string;
  /** RFC 3339 in UTC with seconds, or "" when the store gives none: as old as can be, so only names decide. */
  readonly createdAt: string;
}

/** Oldest first; among equals by namespace and name in byte order. Total: equal only for the same object. */
export function oldestFirst(a: Aged, b: Aged): number {
  return byteOrder(a.createdAt, b.createdAt) || byteOrder(a.key, b.key);
}
