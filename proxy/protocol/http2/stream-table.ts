/** What a table needs to know of its entries. */
interface Identified {
  readonly id: number;
}

const SIZE_MIN = 64;

/**
 * Streams by id: open addressing, linear probing, removal by shifting back (Knuth 6.4, algorithm R).
 *
 * Not a Map. A Map that is inserted into and deleted from all the time moves to a new backing store again and
 * again; each old one points to its streams and to the next store, and once one of them has grown old,
 * all later ones and their streams survive every young collection (1.8 KB a request, measured). Here a
 * slot is emptied when its stream ends, and nothing points to it any more.
 */
export class StreamTable<S extends Identified> {
  private slots: (S | null)[] = new Array<S | null>(SIZE_MIN).fill(null);
  private mask = SIZE_MIN - 1;
  private count = 0;

  get size(): number {
    return this.count;
  }

  get(id: number): S | undefined {
    const { slots, mask } = this;
    for (let i = home(id) & mask; ; i = (i + 1) & mask) {
      const s = slots[i] as S | null;
      if (s === null) return undefined;
      if (s.id === id) return s;
    }
  }

  /** The id must not be in the table yet. */
  set(id: number, stream: S): void {
    if (2 * ++this.count > this.mask) this.grow();
    this.place(id, stream);
  }

  delete(id: number): boolean {
    const { slots, mask } = this;
    let hole = home(id) & mask;
    for (; ; hole = (hole + 1) & mask) {
      const s = slots[hole] as S | null;
      if (s === null) return false;
      if (s.id === id) break;
    }
    this.count--;
    // What stands behind the hole and would no longer be found moves into it.
    for (let i = (hole + 1) & mask; ; i = (i + 1) & mask) {
      const s = slots[i] as S | null;
      if (s === null) break;
      const distance = (i - (home(s.id) & mask)) & mask;
      if (distance < ((i - hole) & mask)) continue;
      slots[hole] = s;
      hole = i;
    }
    slots[hole] = null;
    return true;
  }

  /** All entries as they are now; the table may change while they are gone through. */
  values(): S[] {
    const out: S[] = [];
    for (const s of this.slots) if (s !== null) out.push(s);
    return out.sort((a, b) => a.id - b.id);
  }

  private place(id: number, stream: S): void {
    const { slots, mask } = this;
    let i = home(id) & mask;
    while (slots[i] !== null) i = (i + 1) & mask;
    slots[i] = stream;
  }

  private grow(): void {
    const old = this.slots;
    this.mask = 2 * old.length - 1;
    this.slots = new Array<S | null>(2 * old.length).fill(null);
    for (const s of old) if (s !== null) this.place(s.id, s);
    // So that the old store, should it have grown old, keeps no stream alive.
    old.fill(null);
  }
}

/** Ids of one side are all odd or all even. */
function home(id: number): number {
  return id >>> 1;
}
