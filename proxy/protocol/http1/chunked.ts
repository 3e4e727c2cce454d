import { HEX, TOKEN, VALUE } from "./octets.ts";
import { BARE_CR, type Problem, problem } from "./problem.ts";

/** Most hex digits of a chunk size, leading zeros counted. 8 digits are 4 GiB; more is an attack, not a body. */
const SIZE_DIGITS_MAX = 8;

/** Most bytes of extensions in one chunk, each ";" counted. */
const EXTENSION_BYTES_MAX = 256;

const BAD_SIZE = problem(400, "chunk size is not 1 to 8 hex digits");
const BAD_EXTENSION = problem(400, "malformed chunk extension");
const LONG_EXTENSION = problem(400, "chunk extensions longer than 256 bytes");
const BAD_DATA_END = problem(400, "chunk data is not followed by CRLF");

/** What the next octet is. `NAME` and `VALUE`: the first octet of an extension's name or value; `…_MORE`: a further one. */
const EXPECT = {
  SIZE: 0,
  NAME: 1,
  NAME_MORE: 2,
  VALUE: 3,
  VALUE_MORE: 4,
  QUOTED: 5,
  ESCAPED: 6,
  AFTER_QUOTED: 7,
  LINE_LF: 8,
  DATA: 9,
  DATA_CR: 10,
  DATA_LF: 11,
  TRAILERS: 12,
} as const;

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;

/**
 * Reads what stands between the data of a chunked body (RFC 9112 §7.1), split anywhere: sizes,
 * extensions, line ends. CRLF only. Extensions are checked by their grammar, without the white space
 * that §7.1.1 calls bad, and forgotten: they belong to one hop.
 */
export class ChunkedFraming {
  /** Bytes of chunk data that come next; the caller takes them and says so by `took`. */
  remaining = 0;
  /** The last chunk's line has been read: the trailer section follows. */
  last = false;
  problem: Problem | null = null;
  #expect: number = EXPECT.SIZE;
  #size = 0;
  #digits = 0;
  #extensionBytes = 0;

  /** Begins a new body. */
  reset(): void {
    this.remaining = 0;
    this.last = false;
    this.problem = null;
    this.#nextChunk();
  }

  /** The caller took `count` (≤ remaining) bytes of data. */
  took(count: number): void {
    this.remaining -= count;
    if (this.remaining === 0) this.#expect = EXPECT.DATA_CR;
  }

  /**
   * Reads bytes[at, end) up to data, the end of the last chunk's line, a problem or `end`, whichever is
   * first, and returns the index of the first byte not read.
   */
  scan(bytes: Uint8Array, at: number, end: number): number {
    while (at < end && this.problem === null && this.#expect !== EXPECT.DATA && this.#expect !== EXPECT.TRAILERS) {
      const c = bytes[at++]!;
      const expect = this.#expect;
      if (expect === EXPECT.SIZE) this.#readSize(c);
      else if (expect === EXPECT.LINE_LF) this.#readLineEnd(c);
      else if (expect < EXPECT.LINE_LF) this.#readExtension(expect, c);
      else this.#readDataEnd(expect, c);
    }
    return at;
  }

  #nextChunk(): void {
    this.#expect = EXPECT.SIZE;
    this.#size = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
  }

  #readSize(c: number): void {
    const digit = HEX[c]!;
    if (digit === 255) this.#endOfPart(c, BAD_SIZE);
    else {
      this.#size = this.#size * 16 + digit;
      if (++this.#digits > SIZE_DIGITS_MAX) this.problem = BAD_SIZE;
    }
  }

  #readLineEnd(c: number): void {
    if (c !== LF) this.problem = BARE_CR;
    this.remaining = this.#size;
    this.last = this.#size === 0;
    this.#expect = this.last ? EXPECT.TRAILERS : EXPECT.DATA;
  }

  #readDataEnd(expect: number, c: number): void {
    if (expect === EXPECT.DATA_CR && c === CR) this.#expect = EXPECT.DATA_LF;
    else if (expect === EXPECT.DATA_LF && c === LF) this.#nextChunk();
    else this.problem = BAD_DATA_END;
  }

  /** After a size, or after an extension, there is the line's end or another extension. */
  #endOfPart(c: number, otherwise: Problem): void {
    if (this.#digits === 0) this.problem = BAD_SIZE;
    else if (c === CR) this.#expect = EXPECT.LINE_LF;
    else if (c === SEMICOLON) {
      this.#expect = EXPECT.NAME;
      this.#countExtensionByte();
    } else this.problem = otherwise;
  }

  #countExtensionByte(): void {
    if (++this.#extensionBytes > EXTENSION_BYTES_MAX) this.problem = LONG_EXTENSION;
  }

  #readExtension(expect: number, c: number): void {
    if (this.#next(expect, c)) this.#countExtensionByte();
    else if (expect === EXPECT.NAME_MORE || expect === EXPECT.VALUE_MORE || expect === EXPECT.AFTER_QUOTED)
      this.#endOfPart(c, BAD_EXTENSION);
    else this.problem = BAD_EXTENSION;
  }

  /** Steps inside one extension; false: `c` does not continue it. */
  #next(expect: number, c: number): boolean {
    if (expect === EXPECT.QUOTED || expect === EXPECT.ESCAPED) {
      if (VALUE[c] !== 1) return false;
      if (expect === EXPECT.ESCAPED) this.#expect = EXPECT.QUOTED;
      else if (c === 0x22) this.#expect = EXPECT.AFTER_QUOTED;
      else if (c === 0x5c) this.#expect = EXPECT.ESCAPED;
      return true;
    }
    if (TOKEN[c] === 1 && expect !== EXPECT.AFTER_QUOTED) {
      this.#expect = expect < EXPECT.VALUE ? EXPECT.NAME_MORE : EXPECT.VALUE_MORE;
      return true;
    }
    if (c === 0x3d && expect === EXPECT.NAME_MORE) this.#expect = EXPECT.VALUE;
    else if (c === 0x22 && expect === EXPECT.VALUE) this.#expect = EXPECT.QUOTED;
    else return false;
    return true;
  }
}
