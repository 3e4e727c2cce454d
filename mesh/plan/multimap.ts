/** Sets of values by key. Empty sets are dropped, so it never outgrows what it holds. */
export class Multimap<V> {
  readonly #sets = new Map<string, Set<V>>();

  add(key: string, value: V): void {
    const set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, new Set([value]));
    else set.add(value);
  }

  remove(key: string, value: V): void {
    const set = this.#sets.get(key);
    if (set?.delete(value) === true && set.size === 0) this.#sets.delete(key);
  }

  get(key: string): ReadonlySet<V> {
    return this.#sets.get(key) ?? (EMPTY as ReadonlySet<V>);
  }
}

const EMPTY: ReadonlySet<never> = new Set<never>();
