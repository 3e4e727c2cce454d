/** HPACK integers (RFC 7541 §5.1): what fits in an octet's low bits, or those bits set and seven more a following octet. */

/** Most octets that may follow the prefix: 28 bits. More is either far beyond every limit or padding with zeros. */
const FOLLOWING_OCTETS_MAX = 4;

/** Octets that an integer below 2^28 takes at most. */
export const INTEGER_BYTES_MAX = 1 + FOLLOWING_OCTETS_MAX;

/**
 * Writes `value` at `pos` and answers where it ends. `first` holds the bits above the prefix, `prefix`
 * is the prefix's mask (2^N − 1). `value` is below 2^28.
 */
export function writeInteger(out: Uint8Array, pos: number, first: number, prefix: number, value: number): number {
  if (value < prefix) {
    out[pos] = first | value;
    return pos + 1;
  }
  out[pos] = first | prefix;
  let at = pos + 1;
  let rest = value - prefix;
  while (rest >= 128) {
    out[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[at] = rest;
  return at + 1;
}

/** A place in a header block, read from left to right. */
export class Cursor {
  block: Buffer = Buffer.alloc(0);
  pos = 0;
  end = 0;

  /** Reads the integer whose prefix lies in the octet at `pos`, which must be before `end`; -1: cut off, or not below 2^28. */
  integer(prefix: number): number {
    const block = this.block;
    const low = block[this.pos++]! & prefix;
    if (low < prefix) return low;
    let value = low;
    for (let shift = 0; shift < 7 * FOLLOWING_OCTETS_MAX; shift += 7) {
      if (this.pos >= this.end) return -1;
      const octet = block[this.pos++]!;
      value += (octet & 0x7f) << shift;
      if (octet < 128) return value < 0x1000_0000 ? value : -1;
    }
    return -1;
  }
}
