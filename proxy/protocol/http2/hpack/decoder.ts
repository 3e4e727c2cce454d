/** HPACK decoder (RFC 7541 §3, §6). */
import { isFieldValue, KIND_BAD_VALUE, KIND_COOKIE, KIND_MASK, kindOfName } from "../names.ts";
import { huffmanDecode, huffmanDecodedMax } from "./huffman.ts";
import { Cursor } from "./integers.ts";
import { readLatin1 } from "./octets.ts";
import { STATIC_ENTRIES, STATIC_NAMES, STATIC_VALUES } from "./static-table.ts";
import { DecoderTable, ENTRY_OVERHEAD_BYTES, TABLE_BYTES_DEFAULT } from "./table.ts";

const STATIC_KINDS: readonly number[] = STATIC_NAMES.map(kindOfName);

/** Room for most Huffman-coded strings; longer ones get room of their own. */
const scratch = Buffer.allocUnsafeSlow(4096);

/** What a decoder refuses to hold. */
export interface DecoderLimits {
  /** Most octets of a list, each field's 32 included (RFC 9113 §10.5.1). */
  readonly listBytes: number;
  /** Most fields of a list. */
  readonly fields: number;
  /** Whether `cookie` fields do not count as fields: HTTP/2 clients send one a cookie. Their octets count. */
  readonly cookieCrumbs: boolean;
}

/**
 * Decodes header blocks into three parallel lists, which the next block overwrites. A block above the
 * limits is decoded to its end all the same, since the table must stay what the peer thinks it is, but
 * nothing beyond the limits is kept: `overflow` says so.
 */
export class HpackDecoder {
  /** The list's names, values and kinds (names.ts), valid below `count`. */
  readonly names: string[] = [];
  readonly values: string[] = [];
  readonly kinds: number[] = [];
  count = 0;
  overflow = false;
  private listBytes = 0;
  private fields = 0;
  private readonly cursor = new Cursor();
  private readonly table: DecoderTable;
  private readonly limits: DecoderLimits;
  private readonly tableBytesMax: number;

  constructor(limits: DecoderLimits, tableBytesMax: number = TABLE_BYTES_DEFAULT) {
    this.limits = limits;
    this.tableBytesMax = tableBytesMax;
    this.table = new DecoderTable(tableBytesMax);
  }

  /** Octets of the dynamic table in use. */
  get tableBytes(): number {
    return this.table.size;
  }

  /** Decodes `block[start, end)`. Answers "" or what is wrong with it, after which the connection cannot go on. */
  decode(block: Buffer, start: number, end: number): string {
    const cursor = this.cursor;
    cursor.block = block;
    cursor.pos = start;
    cursor.end = end;
    this.count = 0;
    this.overflow = false;
    this.listBytes = 0;
    this.fields = 0;
    let problem = "";
    let updatesAllowed = 2;
    while (cursor.pos < end && problem === "") {
      const octet = block[cursor.pos]!;
      if (octet >= 0x20 && octet < 0x40) {
        problem = updatesAllowed-- > 0 ? this.sizeUpdate() : "table size update after a field";
        continue;
      }
      updatesAllowed = 0;
      problem = octet >= 0x80 ? this.indexed() : this.literal(octet);
    }
    return problem;
  }

  /** Lets go of the strings of a large list, so that an idle connection does not hold them. */
  release(): void {
    if (this.names.length <= 64) return;
    this.names.length = this.values.length = this.kinds.length = 0;
    this.count = 0;
  }

  private sizeUpdate(): string {
    const size = this.cursor.integer(0x1f);
    if (size < 0 || size > this.tableBytesMax) return "table size update above the announced size";
    this.table.resize(size);
    return "";
  }

  private indexed(): string {
    const index = this.cursor.integer(0x7f);
    if (index <= 0) return "index zero or cut off";
    if (index <= STATIC_ENTRIES) {
      this.push(STATIC_NAMES[index]!, STATIC_VALUES[index]!, STATIC_KINDS[index]!);
      return "";
    }
    const slot = this.table.slot(index);
    if (slot < 0) return "index beyond the table";
    this.push(this.table.name(slot), this.table.value(slot), this.table.kind(slot));
    return "";
  }

  private literal(octet: number): string {
    const cursor = this.cursor;
    const kept = octet >= 0x40;
    const index = cursor.integer(kept ? 0x3f : 0x0f);
    let name: string | null;
    let kind: number;
    if (index > STATIC_ENTRIES) {
      const slot = this.table.slot(index);
      if (slot < 0) return "index beyond the table";
      name = this.table.name(slot);
      kind = this.table.kind(slot) & ~KIND_BAD_VALUE;
    } else if (index > 0) {
      name = STATIC_NAMES[index]!;
      kind = STATIC_KINDS[index]!;
    } else {
      if (index < 0) return "integer cut off or too large";
      name = this.string();
      if (name === null) return "name cut off, too long or wrongly coded";
      kind = kindOfName(name);
    }
    const value = this.string();
    if (value === null) return "value cut off, too long or wrongly coded";
    if (!isFieldValue(value)) kind |= KIND_BAD_VALUE;
    if (kept) this.table.insert(name, value, kind);
    this.push(name, value, kind);
    return "";
  }

  /** Null: the string is cut off or wrongly coded. */
  private string(): string | null {
    const cursor = this.cursor;
    if (cursor.pos >= cursor.end) return null;
    const coded = cursor.block[cursor.pos]! >= 0x80;
    const length = cursor.integer(0x7f);
    const start = cursor.pos;
    const end = start + length;
    if (length < 0 || end > cursor.end) return null;
    cursor.pos = end;
    if (!coded) return readLatin1(cursor.block, start, end);
    const bytesMax = huffmanDecodedMax(length);
    const out = bytesMax <= scratch.length ? scratch : Buffer.allocUnsafe(bytesMax);
    const count = huffmanDecode(cursor.block, start, end, out);
    return count < 0 ? null : readLatin1(out, 0, count);
  }

  private push(name: string, value: string, kind: number): void {
    this.listBytes += name.length + value.length + ENTRY_OVERHEAD_BYTES;
    if (!this.limits.cookieCrumbs || (kind & KIND_MASK) !== KIND_COOKIE) this.fields++;
    if (this.listBytes > this.limits.listBytes || this.fields > this.limits.fields) {
      this.overflow = true;
      return;
    }
    const at = this.count++;
    this.names[at] = name;
    this.values[at] = value;
    this.kinds[at] = kind;
  }
}
