import type { Multimap } from "./multimap.ts";

/** Where a row is found besides by its own key: a reverse index and the key in it. */
export type Lookup = readonly [index: Multimap<string>, key: string];

/** Rows by key, with reverse indexes that follow every change. */
export class Table<Row extends { readonly key: string }> {
  readonly #rows = new Map<string, Row>();
  readonly #lookups: (row: Row) => Iterable<Lookup>;

  constructor(lookups: (row: Row) => Iterable<Lookup>) {
    this.#lookups = lookups;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  values(): Iterable<Row> {
    return this.#rows.values();
  }

  set(row: Row): void {
    this.delete(row.key);
    this.#rows.set(row.key, row);
    for (const [index, key] of this.#lookups(row)) index.add(key, row.key);
  }

  delete(key: string): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    this.#rows.delete(key);
    for (const [index, lookup] of this.#lookups(row)) index.remove(lookup, key);
  }

  clear(): void {
    for (const key of [...this.#rows.keys()]) this.delete(key);
  }

  /** The rows that a reverse index names, in no particular order. */
  *at(index: Multimap<string>, key: string): Iterable<Row> {
    for (const found of index.get(key)) {
      const row = this.#rows.get(found);
      if (row !== undefined) yield row;
    }
  }
}
