/**
 * Cuts a peer's bytes into frames, wherever the network split them. DATA is passed on piece by piece as
 * it arrives; every other frame is passed on whole, without a copy where it lies in one chunk.
 */
import {
  FLAG_PADDED,
  FRAME_DATA,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_DEFAULT,
  FRAME_SIZE_ERROR,
  PREFACE,
  PROTOCOL_ERROR,
  readUint31,
} from "./frames.ts";

/** What a reader tells. All offsets are into `chunk`, which lives on after the call. */
export interface FrameSink {
  /** Nothing more is to be read. */
  readonly dead: boolean;
  /** A frame begins. False: its payload is of no use and is skipped. May end the connection. */
  begin(type: number, flags: number, id: number, length: number): boolean;
  /** A whole payload, but for DATA without padding. */
  frame(type: number, flags: number, id: number, chunk: Buffer, start: number, end: number): void;
  /** DATA of `length` octets without padding begins; `length` of them follow in pieces. */
  dataBegin(id: number, flags: number, flowLength: number, length: number): void;
  /** At least one piece a frame; `last` on its last, which is empty only in an empty frame. */
  dataPiece(chunk: Buffer, start: number, end: number, last: boolean): void;
  /** The connection cannot go on. */
  fatal(code: number, detail: string): void;
}

const SKIP = 1;
const DATA = 2;

export class FrameReader {
  private readonly sink: FrameSink;
  private prefaceLeft: number;
  private readonly head = Buffer.alloc(FRAME_HEADER_BYTES);
  private headFilled = 0;
  /** Octets of a payload that pass through without being kept, and what becomes of them. */
  private passing = 0;
  private passingAs = SKIP;
  /** A payload that arrives in parts. */
  private body: Buffer | null = null;
  private bodyFilled = 0;
  private type = 0;
  private flags = 0;
  private id = 0;

  constructor(sink: FrameSink, expectPreface: boolean) {
    this.sink = sink;
    this.prefaceLeft = expectPreface ? PREFACE.length : 0;
  }

  /** Bytes kept of a frame that has not come whole. */
  get heldBytes(): number {
    return this.headFilled + (this.body === null ? 0 : this.body.length);
  }

  /** Lets go of a frame that has not come whole. Nothing may be received after. */
  stop(): void {
    this.body = null;
    this.headFilled = 0;
  }

  receive(chunk: Buffer): void {
    let at = this.prefaceLeft > 0 ? this.preface(chunk) : 0;
    const end = chunk.length;
    while (at < end && !this.sink.dead) {
      if (this.passing > 0) at = this.pass(chunk, at);
      else if (this.body !== null) at = this.fill(chunk, at, this.body);
      else if (this.headFilled === 0 && end - at >= FRAME_HEADER_BYTES) at = this.start(chunk, at, chunk, at + FRAME_HEADER_BYTES);
      else at = this.fillHead(chunk, at);
    }
  }

  private preface(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.prefaceLeft > 0) {
      if (chunk[at++] !== PREFACE[PREFACE.length - this.prefaceLeft--]) {
        this.sink.fatal(PROTOCOL_ERROR, "no HTTP/2 preface");
        return chunk.length;
      }
    }
    return at;
  }

  private fillHead(chunk: Buffer, at: number): number {
    const count = Math.min(FRAME_HEADER_BYTES - this.headFilled, chunk.length - at);
    chunk.copy(this.head, this.headFilled, at, at + count);
    this.headFilled += count;
    if (this.headFilled < FRAME_HEADER_BYTES) return at + count;
    this.headFilled = 0;
    return this.start(this.head, 0, chunk, at + count);
  }

  /** Reads nine octets of `head`; the payload goes on at `at` of `chunk`. Answers where to go on. */
  private start(head: Buffer, headAt: number, chunk: Buffer, at: number): number {
    const length = (head[headAt]! << 16) | (head[headAt + 1]! << 8) | head[headAt + 2]!;
    const type = head[headAt + 3]!;
    const flags = head[headAt + 4]!;
    const id = readUint31(head, headAt + 5);
    if (length > FRAME_PAYLOAD_DEFAULT) {
      this.sink.fatal(FRAME_SIZE_ERROR, "frame above SETTINGS_MAX_FRAME_SIZE");
      return chunk.length;
    }
    if (!this.sink.begin(type, flags, id, length)) {
      this.passing = length;
      this.passingAs = SKIP;
      return at;
    }
    if (type === FRAME_DATA && (flags & FLAG_PADDED) === 0) {
      this.sink.dataBegin(id, flags, length, length);
      this.passing = length;
      this.passingAs = DATA;
      if (length === 0) this.sink.dataPiece(chunk, at, at, true);
      return at;
    }
    if (chunk.length - at >= length) {
      this.sink.frame(type, flags, id, chunk, at, at + length);
      return at + length;
    }
    this.type = type;
    this.flags = flags;
    this.id = id;
    this.body = Buffer.allocUnsafeSlow(length);
    this.bodyFilled = 0;
    return at;
  }

  private fill(chunk: Buffer, at: number, body: Buffer): number {
    const count = Math.min(body.length - this.bodyFilled, chunk.length - at);
    chunk.copy(body, this.bodyFilled, at, at + count);
    this.bodyFilled += count;
    if (this.bodyFilled === body.length) {
      this.body = null;
      this.sink.frame(this.type, this.flags, this.id, body, 0, body.length);
    }
    return at + count;
  }

  private pass(chunk: Buffer, at: number): number {
    const count = Math.min(this.passing, chunk.length - at);
    this.passing -= count;
    if (this.passingAs === DATA) this.sink.dataPiece(chunk, at, at + count, this.passing === 0);
    return at + count;
  }
}
