import { firstBadOctet } from "./octets.ts";
import { octetProblem } from "./fields.ts";
import { HEAD_TOO_LARGE, type Problem } from "./problem.ts";

/**
 * Most bytes of a head or trailer section, start line and every CRLF counted; exactly as many pass. Above
 * Node's own 16 KiB and Envoy's 60 KiB, so that a head that passed without the mesh passes with it.
 */
export const HEAD_BYTES_MAX = 65_536;

const EMPTY = Buffer.alloc(0);
/** A trailer section without fields. */
export const EMPTY_BLOCK = "\r\n";
const CRLF_CRLF = Buffer.from("\r\n\r\n", "latin1");

/** Node's own method, without the argument handling of toString; it is in no type declaration. */
interface Latin1 {
  latin1Slice(start: number, end: number): string;
}

function latin1(bytes: Buffer, start: number, end: number): string {
  return (bytes as unknown as Latin1).latin1Slice(start, end);
}

/** Reads only the start line; `line`, bytes[base, …) as latin1, ends with CRLF. Refuses it before the rest of the head has come. */
export type StartLineCheck = (line: string, bytes: Uint8Array, base: number) => Problem | null;

/**
 * Bytes that arrived and were not read yet. They stay in the buffers they came in; only a head that was
 * split over several is put together in a buffer of its own.
 */
export class Input {
  /** The peer has half-closed: nothing will be added. */
  ended = false;
  /** Set when `takeBlock` returned "" because no more bytes can make the block well-formed. */
  problem: Problem | null = null;
  /** Where the last block taken lies; `forgetBlock` lets go of it. */
  blockBytes: Buffer = EMPTY;
  blockBase = 0;
  #bytes: Buffer = EMPTY;
  #at = 0;
  #queue: Buffer[] = [];
  #queueAt = 0;
  #queued = 0;
  /** First bytes of an incomplete block. */
  #held: Buffer = EMPTY;
  #heldLength = 0;
  #lineChecked = false;

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (this.#at === this.#bytes.length && this.#queued === 0) {
      this.#bytes = chunk;
      this.#at = 0;
    } else {
      this.#queue.push(chunk);
      this.#queued += chunk.length;
    }
  }

  get buffered(): number {
    return this.#heldLength + this.#bytes.length - this.#at + this.#queued;
  }

  /** Whether an incomplete block is held. */
  get holds(): boolean {
    return this.#heldLength > 0;
  }

  /** Whether a byte can be read; makes `peek`, `bytes` and `at` valid. */
  more(): boolean {
    if (this.#at < this.#bytes.length) return true;
    if (this.#queued === 0) {
      this.#bytes = EMPTY; // lets go of what was read
      this.#at = 0;
      return false;
    }
    this.#bytes = this.#queue[this.#queueAt]!;
    this.#queue[this.#queueAt++] = EMPTY;
    this.#queued -= this.#bytes.length;
    this.#at = 0;
    if (this.#queued === 0) {
      this.#queue.length = 0;
      this.#queueAt = 0;
    }
    return true;
  }

  /** The next byte. */
  peek(): number {
    return this.#bytes[this.#at]!;
  }

  /** The buffer being read, and where. */
  get bytes(): Buffer {
    return this.#bytes;
  }
  get at(): number {
    return this.#at;
  }

  /** Everything before index `at` of `bytes` has been read. */
  moveTo(at: number): void {
    this.#at = at;
  }

  /** Up to `max` bytes, without copying; call after `more()` said true. */
  take(max: number): Buffer {
    const bytes = this.#bytes;
    const start = this.#at;
    const count = Math.min(max, bytes.length - start);
    this.#at = start + count;
    if (this.#at === bytes.length) {
      this.#bytes = EMPTY; // an idle connection must not keep what it read last
      this.#at = 0;
    }
    return count === bytes.length ? bytes : bytes.subarray(start, start + count);
  }

  /** All that was not read, as one buffer; nothing is left. */
  takeAll(): Buffer {
    const rest = [this.#held.subarray(0, this.#heldLength), this.#bytes.subarray(this.#at), ...this.#queue.slice(this.#queueAt)];
    this.#release();
    this.#bytes = EMPTY;
    this.#at = 0;
    this.#queue = [];
    this.#queueAt = 0;
    this.#queued = 0;
    const pieces = rest.filter((piece) => piece.length > 0);
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  /**
   * The lines up to and with the first empty one, as latin1; a trailer section may be the empty line
   * alone (`mayBeEmpty`). "": not all of it is here, or `problem` says why it never will be.
   */
  takeBlock(mayBeEmpty: boolean, check: StartLineCheck | null): string {
    if (this.#heldLength === 0 && this.more()) {
      const bytes = this.#bytes;
      const start = this.#at;
      if (mayBeEmpty && bytes[start] === 0x0d && bytes[start + 1] === 0x0a) {
        this.#at = start + 2;
        return EMPTY_BLOCK;
      }
      const found = bytes.indexOf(CRLF_CRLF, start);
      const end = found + 4;
      if (found >= 0 && end - start <= HEAD_BYTES_MAX) {
        this.#at = end;
        this.blockBytes = bytes;
        this.blockBase = start;
        return latin1(bytes, start, end);
      }
    }
    while (this.more()) {
      const block = this.#hold(mayBeEmpty, check);
      if (block !== "" || this.problem !== null) return block;
    }
    return "";
  }

  forgetBlock(): void {
    this.blockBytes = EMPTY;
  }

  /** Adds what is in the current buffer to the held block; the block, if that completes it. */
  #hold(mayBeEmpty: boolean, check: StartLineCheck | null): string {
    const before = this.#heldLength;
    const length = Math.min(before + this.#bytes.length - this.#at, HEAD_BYTES_MAX);
    if (length > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(2 * length, 1024), HEAD_BYTES_MAX));
      this.#held.copy(grown, 0, 0, before);
      this.#held = grown;
    }
    this.#bytes.copy(this.#held, before, this.#at, this.#at + length - before);
    this.#heldLength = length;
    const empty = mayBeEmpty && length >= 2 && this.#held[0] === 0x0d && this.#held[1] === 0x0a;
    const found = empty ? 0 : this.#held.subarray(0, length).indexOf(CRLF_CRLF, Math.max(0, before - 3));
    const end = empty ? 2 : found >= 0 ? found + 4 : length;
    this.#at += end - before;
    this.#heldLength = end;
    if (found >= 0) {
      const block = latin1(this.#held, 0, end);
      this.blockBytes = this.#held;
      this.blockBase = 0;
      this.#release();
      return block;
    }
    this.problem = this.#problemSince(before, check) ?? (length === HEAD_BYTES_MAX ? HEAD_TOO_LARGE : null);
    return "";
  }

  #problemSince(before: number, check: StartLineCheck | null): Problem | null {
    const from = Math.max(0, before - 1);
    const fresh = latin1(this.#held, from, this.#heldLength);
    const bad = firstBadOctet(fresh, before - from);
    if (check !== null && !this.#lineChecked) {
      const lineEnd = fresh.indexOf("\r\n");
      if (lineEnd >= 0 && (bad < 0 || bad > lineEnd)) {
        this.#lineChecked = true;
        const refused = check(latin1(this.#held, 0, from + lineEnd + 2), this.#held, 0);
        if (refused !== null) return refused;
      }
    }
    return bad < 0 ? null : octetProblem(fresh, bad);
  }

  #release(): void {
    this.#held = EMPTY;
    this.#heldLength = 0;
    this.#lineChecked = false;
  }
}

/**
 * What is wrong with a complete block that was refused as `refused`, said as it would have been said had
 * the block come octet by octet: octets of the start line first, then the start line, then other octets.
 */
export function firstProblem(block: string, startLine: Problem | null, refused: Problem): Problem {
  const bad = firstBadOctet(block, 0);
  if (startLine !== null && (bad < 0 || bad > block.indexOf("\r\n"))) return startLine;
  return bad < 0 ? refused : octetProblem(block, bad);
}
