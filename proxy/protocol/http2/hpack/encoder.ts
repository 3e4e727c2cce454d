/**
 * HPACK encoder (RFC 7541 §3, §6).
 *
 * What goes into the table is decided by a value's return: the first time a value is seen it is sent as
 * a literal, and only one that comes back soon becomes an entry. So values that change with each request
 * (paths with ids, dates, lengths) never push out those that do not. A name that never repeats a value
 * still earns an entry now and then, which later literals name by its index.
 *
 * An owner's strings may be slices of a whole head, which they would keep alive. So what is kept is a
 * hash, or a copy.
 */
import { INDEX_NEVER, INDEX_NO, INDEX_USUAL, indexing, kindOfName } from "../names.ts";
import { huffmanEncode, huffmanLength } from "./huffman.ts";
import { writeInteger } from "./integers.ts";
import { readLatin1, writeLatin1 } from "./octets.ts";
import { staticNameIndex, staticValueIndices } from "./static-table.ts";
import { ENTRY_OVERHEAD_BYTES, EncoderTable, NameRecord, TABLE_BYTES_DEFAULT } from "./table.ts";

/** Field names remembered on a connection. Beyond them those without a live entry are forgotten. */
const NAMES_MAX = 256;
/** Longest name or value that is remembered. */
const REMEMBERED_CHARS_MAX = 256;
/** Of a name that is not in the table, every so many messages one makes an entry for the name's sake. */
const NAME_ENTRY_EVERY = 8;

/** Longest value in the static table: a longer path need not be hashed to know that it is not there. */
const STATIC_VALUE_CHARS_MAX = 13;

/** Octets that a field takes at most beyond its name and value. */
export const FIELD_OVERHEAD_BYTES = 12;
/** Octets that table size updates at a block's start take at most. */
export const BLOCK_OVERHEAD_BYTES = 10;

export class HpackEncoder {
  private readonly names = new Map<string, NameRecord>();
  private readonly table = new EncoderTable(TABLE_BYTES_DEFAULT);
  private readonly huffman: boolean;
  private readonly lowerCase: boolean;
  /** Smallest and last size that the next block must announce; -1: nothing to announce. */
  private smallest = -1;
  private announced = -1;

  /** `huffman`: strings are coded where that is shorter. `lowerCase`: names go out in lower case. */
  constructor(options: { readonly huffman: boolean; readonly lowerCase: boolean }) {
    this.huffman = options.huffman;
    this.lowerCase = options.lowerCase;
  }

  /** Octets of the dynamic table in use. */
  get tableBytes(): number {
    return this.table.size;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. We use at most the default of it. */
  setTableSize(bytes: number): void {
    const size = Math.min(bytes, TABLE_BYTES_DEFAULT);
    if (size === this.table.bytesMax && this.announced < 0) return;
    this.table.resize(size);
    this.smallest = this.smallest < 0 ? size : Math.min(this.smallest, size);
    this.announced = size;
  }

  /** Begins a block at `pos`; answers where its first field goes. */
  begin(out: Buffer, pos: number): number {
    if (this.announced < 0) return pos;
    let at = pos;
    if (this.smallest < this.announced) at = writeInteger(out, at, 0x20, 0x1f, this.smallest);
    at = writeInteger(out, at, 0x20, 0x1f, this.announced);
    this.smallest = this.announced = -1;
    return at;
  }

  /** What is known of a name; makes a record of it when it is new. */
  record(name: string): NameRecord {
    return this.names.get(name) ?? this.learn(name);
  }

  /** Writes a field at `pos`; answers where it ends. */
  field(out: Buffer, pos: number, name: NameRecord, value: string): number {
    const table = this.table;
    if (name.indexing === INDEX_USUAL) {
      if (value === name.last && name.lastSequence >= table.oldest)
        return writeInteger(out, pos, 0x80, 0x7f, table.index(name.lastSequence));
      const known = value.length <= STATIC_VALUE_CHARS_MAX ? name.staticValues?.get(value) : undefined;
      if (known !== undefined) return writeInteger(out, pos, 0x80, 0x7f, known);
      const sequence = name.values?.get(value);
      if (sequence !== undefined) {
        name.last = table.value(sequence);
        name.lastSequence = sequence;
        return writeInteger(out, pos, 0x80, 0x7f, table.index(sequence));
      }
    }
    return this.literal(out, pos, name, value);
  }

  private literal(out: Buffer, pos: number, name: NameRecord, value: string): number {
    const table = this.table;
    let nameIndex = name.staticIndex;
    if (nameIndex === 0 && name.sequence >= table.oldest) nameIndex = table.index(name.sequence);
    let at: number;
    if (name.indexing === INDEX_NEVER) {
      at = writeInteger(out, pos, 0x10, 0x0f, nameIndex);
    } else if (this.admits(name, value, nameIndex)) {
      at = writeInteger(out, pos, 0x40, 0x3f, nameIndex);
      name.last = copyOf(value);
      name.lastSequence = name.sequence = table.insert(name, name.last);
    } else {
      at = writeInteger(out, pos, 0, 0x0f, nameIndex);
    }
    if (nameIndex === 0) at = this.string(out, at, name.wire);
    return this.string(out, at, value);
  }

  private admits(name: NameRecord, value: string, nameIndex: number): boolean {
    // A long value would push out too much for what it saves; the same of a table that the peer made small.
    if (value.length > REMEMBERED_CHARS_MAX) return false;
    if (name.wire.length + value.length + ENTRY_OVERHEAD_BYTES > this.table.bytesMax >> 2) return false;
    const forName = name.uses++ % NAME_ENTRY_EVERY === 1 && nameIndex === 0;
    if (name.indexing === INDEX_NO) return forName;
    const hash = hashOf(value);
    const again = hash === name.seen || hash === name.seenBefore;
    if (hash !== name.seen) {
      name.seenBefore = name.seen;
      name.seen = hash;
    }
    return again || forName;
  }

  private string(out: Buffer, pos: number, text: string): number {
    if (this.huffman) {
      const length = huffmanLength(text);
      if (length < text.length) return huffmanEncode(text, out, writeInteger(out, pos, 0x80, 0x7f, length));
    }
    return writeLatin1(out, writeInteger(out, pos, 0, 0x7f, text.length), text);
  }

  private learn(name: string): NameRecord {
    if (this.names.size >= NAMES_MAX) this.forgetNames();
    const kept = name.length <= REMEMBERED_CHARS_MAX ? copyOf(name) : name;
    const wire = this.lowerCase ? kept.toLowerCase() : kept;
    const record = new NameRecord(wire, kindOfName(name), indexing(name), staticNameIndex(wire), staticValueIndices(wire));
    if (name.length <= REMEMBERED_CHARS_MAX) this.names.set(kept, record);
    return record;
  }

  private forgetNames(): void {
    const oldest = this.table.oldest;
    for (const [name, record] of this.names) if (record.sequence < oldest) this.names.delete(name);
  }
}

const copyRoom = Buffer.allocUnsafeSlow(REMEMBERED_CHARS_MAX);

/** The same octets in a string that is a slice of no other. */
function copyOf(text: string): string {
  return readLatin1(copyRoom, 0, writeLatin1(copyRoom, 0, text));
}

/** FNV-1a, 31 bits. A collision costs an entry that was not worth it, nothing more. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash >>> 1;
}
