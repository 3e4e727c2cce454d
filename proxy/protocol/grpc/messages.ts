/** Length-prefixed messages: a flag octet, four of length, and the message. */
import { type GrpcFault, INTERNAL, RESOURCE_EXHAUSTED } from "./status.ts";

const PREFIX_BYTES = 5;
const COMPRESSED = 1;
/** The first piece of memory taken for a message that arrives in parts. */
const HELD_BYTES_FIRST = 16 * 1024;

/** One message as it goes on the wire. */
export function frameMessage(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  out[0] = 0;
  out.writeUInt32BE(message.length, 1);
  out.set(message, PREFIX_BYTES);
  return out;
}

export interface Received {
  /** Whole messages, in order. May share memory with what was received. */
  readonly messages: readonly Buffer[];
  /** Why nothing after them can be read; null: nothing is wrong. The reader must not be used again. */
  readonly fault: GrpcFault | null;
}

/** Cuts messages out of a body that arrives in pieces; the messages do not depend on the pieces. */
export class MessageReader {
  private readonly bytesMax: number;
  private readonly prefix = Buffer.alloc(PREFIX_BYTES);
  private prefixLength = 0;
  /** Bytes of the message that is being read; -1: its prefix has not come whole. */
  private wanted = -1;
  private held: Buffer | null = null;
  private heldLength = 0;

  /** `bytesMax`: of one message. Zero allows empty ones only. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** Whether the body may not end here. */
  get partial(): boolean {
    return this.prefixLength > 0;
  }

  /** Bytes of memory held for a message that has not come whole. */
  get heldBytes(): number {
    return this.held?.length ?? 0;
  }

  receive(chunk: Buffer): Received {
    const messages: Buffer[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.wanted < 0) {
        at = this.readPrefix(chunk, at);
        if (this.prefixLength < PREFIX_BYTES) break;
        const fault = this.judgePrefix();
        if (fault !== null) return { messages, fault };
      }
      const missing = this.wanted - this.heldLength;
      const have = Math.min(missing, chunk.length - at);
      if (have < missing) {
        this.hold(chunk, at, have);
        break;
      }
      messages.push(this.complete(chunk, at, have));
      at += have;
    }
    return { messages, fault: null };
  }

  private readPrefix(chunk: Buffer, start: number): number {
    const count = Math.min(PREFIX_BYTES - this.prefixLength, chunk.length - start);
    chunk.copy(this.prefix, this.prefixLength, start, start + count);
    this.prefixLength += count;
    return start + count;
  }

  private judgePrefix(): GrpcFault | null {
    const flag = this.prefix[0];
    if (flag === COMPRESSED) return { code: INTERNAL, message: "a compressed message, though no compression was agreed" };
    if (flag !== 0) return { code: INTERNAL, message: `a message with flag ${flag}` };
    this.wanted = this.prefix.readUInt32BE(1);
    if (this.wanted <= this.bytesMax) return null;
    return { code: RESOURCE_EXHAUSTED, message: `a message of ${this.wanted} bytes; at most ${this.bytesMax} are taken` };
  }

  /** Memory grows with what has come, not with what was announced. */
  private hold(chunk: Buffer, at: number, count: number): void {
    const needed = this.heldLength + count;
    if (this.held === null || this.held.length < needed) {
      const size = Math.min(this.wanted, Math.max(needed, HELD_BYTES_FIRST, (this.held?.length ?? 0) * 2));
      const larger = Buffer.allocUnsafeSlow(size);
      this.held?.copy(larger, 0, 0, this.heldLength);
      this.held = larger;
    }
    chunk.copy(this.held, this.heldLength, at, at + count);
    this.heldLength = needed;
  }

  private complete(chunk: Buffer, at: number, count: number): Buffer {
    let message = chunk.subarray(at, at + count);
    if (this.heldLength > 0) {
      this.hold(chunk, at, count);
      message = this.held!.subarray(0, this.heldLength);
    }
    this.prefixLength = 0;
    this.wanted = -1;
    this.held = null;
    this.heldLength = 0;
    return message;
  }
}
