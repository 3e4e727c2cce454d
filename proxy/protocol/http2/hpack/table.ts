/**
 * HPACK's dynamic tables (RFC 7541 §2.3.2, §4). An entry counts its name, its value and 32 octets, so a
 * table of n octets has at most n / 32 entries: both tables are rings of that many slots, and neither
 * moves an entry. Entries are known by a sequence number that only grows; the wire's index counts back
 * from the newest.
 */
import { STATIC_ENTRIES } from "./static-table.ts";

/** What an entry counts beyond its name and value (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD_BYTES = 32;

/** SETTINGS_HEADER_TABLE_SIZE's default, and the most that we use as encoder and offer as decoder. */
export const TABLE_BYTES_DEFAULT = 4096;

/** Slots for a table of `bytes`: a power of two, so that a slot is found by a mask. */
function slotsFor(bytes: number): number {
  let slots = 1;
  while (slots * ENTRY_OVERHEAD_BYTES < bytes) slots *= 2;
  return slots;
}

/** The table of one who decodes. Kinds (names.ts) are kept so that a known field is never judged twice. */
export class DecoderTable {
  private readonly names: string[];
  private readonly values: string[];
  private readonly kinds: number[];
  private readonly mask: number;
  private inserted = 0;
  private entries = 0;
  private bytes = 0;
  private bytesMax: number;

  /** `bytesMax`: the size announced to the peer, which it may lower and raise up to this. */
  constructor(bytesMax: number) {
    const slots = slotsFor(bytesMax);
    this.names = new Array<string>(slots).fill("");
    this.values = new Array<string>(slots).fill("");
    this.kinds = new Array<number>(slots).fill(0);
    this.mask = slots - 1;
    this.bytesMax = bytesMax;
  }

  /** Sum of the entries' sizes. */
  get size(): number {
    return this.bytes;
  }

  get length(): number {
    return this.entries;
  }

  /** The slot of a wire index above the static table; -1: no such entry. */
  slot(index: number): number {
    const back = index - STATIC_ENTRIES - 1;
    return back < this.entries ? (this.inserted - 1 - back) & this.mask : -1;
  }

  name(slot: number): string {
    return this.names[slot]!;
  }

  value(slot: number): string {
    return this.values[slot]!;
  }

  kind(slot: number): number {
    return this.kinds[slot]!;
  }

  /** An entry above the table's size empties it and is not kept (RFC 7541 §4.4). */
  insert(name: string, value: string, kind: number): void {
    const size = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.shrink(this.bytesMax - size);
    if (size > this.bytesMax) return;
    const slot = this.inserted++ & this.mask;
    this.names[slot] = name;
    this.values[slot] = value;
    this.kinds[slot] = kind;
    this.entries++;
    this.bytes += size;
  }

  /** The peer's encoder says how much it uses from now on. */
  resize(bytesMax: number): void {
    this.bytesMax = bytesMax;
    this.shrink(bytesMax);
  }

  private shrink(bytes: number): void {
    while (this.bytes > bytes && this.entries > 0) {
      const slot = (this.inserted - this.entries--) & this.mask;
      this.bytes -= this.names[slot]!.length + this.values[slot]!.length + ENTRY_OVERHEAD_BYTES;
      this.names[slot] = "";
      this.values[slot] = "";
    }
  }
}

/** What the encoder knows of one field name on one connection. */
export class NameRecord {
  /** The name's octets on the wire: in lower case in the `rfc` dialect. */
  readonly wire: string;
  /** Its KIND_… */
  readonly kind: number;
  /** Its INDEX_… */
  readonly indexing: number;
  /** Index of the name in the static table; 0: none. */
  readonly staticIndex: number;
  readonly staticValues: ReadonlyMap<string, number> | null;
  /** The value last sent that is an entry, and its sequence number; -1: none yet. The entry may have been evicted since. */
  last = "";
  lastSequence = -1;
  /** Hashes of the two values last sent that are no entries: one that comes back is worth an entry. -1: none. */
  seen = -1;
  seenBefore = -1;
  /** The newest entry with this name; -1: none was made. It may have been evicted since. */
  sequence = -1;
  /** Messages since an entry was made for the name's sake. */
  uses = 0;
  /** Sequence numbers of live entries by value. */
  values: Map<string, number> | null = null;

  constructor(wire: string, kind: number, indexing: number, staticIndex: number, staticValues: ReadonlyMap<string, number> | null) {
    this.wire = wire;
    this.kind = kind;
    this.indexing = indexing;
    this.staticIndex = staticIndex;
    this.staticValues = staticValues;
  }
}

/** The table of one who encodes: the mirror of what the peer's decoder holds. */
export class EncoderTable {
  private readonly names: (NameRecord | null)[];
  private readonly values: string[];
  private readonly mask: number;
  private entries = 0;
  private bytes = 0;
  /** Entries ever made: the next one's sequence number. */
  inserted = 0;
  /** The most that live entries may count. */
  bytesMax: number;

  constructor(bytesMax: number) {
    const slots = slotsFor(bytesMax);
    this.names = new Array<NameRecord | null>(slots).fill(null);
    this.values = new Array<string>(slots).fill("");
    this.mask = slots - 1;
    this.bytesMax = bytesMax;
  }

  get size(): number {
    return this.bytes;
  }

  /** Entries from this sequence number on are live. */
  get oldest(): number {
    return this.inserted - this.entries;
  }

  /** The wire's index of a live entry. */
  index(sequence: number): number {
    return STATIC_ENTRIES + this.inserted - sequence;
  }

  /** A live entry's value. */
  value(sequence: number): string {
    return this.values[sequence & this.mask]!;
  }

  /** Makes an entry, which must not be above the table's size; answers its sequence number. */
  insert(name: NameRecord, value: string): number {
    const size = name.wire.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.shrink(this.bytesMax - size);
    const sequence = this.inserted++;
    const slot = sequence & this.mask;
    this.names[slot] = name;
    this.values[slot] = value;
    this.entries++;
    this.bytes += size;
    name.values ??= new Map();
    name.values.set(value, sequence);
    return sequence;
  }

  resize(bytesMax: number): void {
    this.bytesMax = bytesMax;
    this.shrink(bytesMax);
  }

  private shrink(bytes: number): void {
    while (this.bytes > bytes && this.entries > 0) {
      const sequence = this.inserted - this.entries--;
      const slot = sequence & this.mask;
      const name = this.names[slot]!;
      const value = this.values[slot]!;
      this.bytes -= name.wire.length + value.length + ENTRY_OVERHEAD_BYTES;
      if (name.values!.get(value) === sequence) name.values!.delete(value);
      this.names[slot] = null;
      this.values[slot] = "";
    }
  }
}
