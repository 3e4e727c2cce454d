/** What a connection has to say, and in which order: control frames first, then streams in turn. */
import type { RequestHead, ResponseHead } from "../stream.ts";
import type { Budget } from "./budget.ts";
import { ControlQueue } from "./control.ts";
import { WINDOW_DEFAULT } from "./flow.ts";
import {
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_HEADER_BYTES,
  FRAME_HEADERS,
  FRAME_PAYLOAD_DEFAULT,
  writeFrameHeader,
} from "./frames.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { STREAM_TURN_BYTES } from "./limits.ts";
import type { Dialect } from "./message-read.ts";
import { writeRequest, writeResponse, writeTrailers } from "./message-write.ts";
import type { Http2Stream } from "./stream.ts";

/** What output tells its connection. */
export interface OutputHost {
  readonly server: boolean;
  readonly dialect: Dialect;
  readonly dead: boolean;
  readonly sendQueueHighWater: number;
  readonly controls: Budget;
  onOutput(): void;
  /** A client's stream goes out for the first time; answers its id. */
  assignId(stream: Http2Stream): number;
  /** END_STREAM of this stream was taken. */
  localEnd(stream: Http2Stream): void;
}

/** Small outputs of all connections are cut from one slab after the other: no allocation a write. */
const SLAB_BYTES = 64 * 1024;
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabAt = 0;

/** DATA pieces smaller than this are not cut off a larger queue to fill up an output. */
const SLIVER_BYTES = 1024;

export class Output {
  readonly control = new ControlQueue();
  readonly encoder: HpackEncoder;
  /** The connection's window for what we send. */
  sendWindow = WINDOW_DEFAULT;
  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  frameMax = FRAME_PAYLOAD_DEFAULT;
  /** Bytes of body in the streams' queues. */
  queued = 0;
  private readonly host: OutputHost;
  private signalled = false;
  private first: Http2Stream | null = null;
  private last: Http2Stream | null = null;
  private parked: Http2Stream[] = [];
  private writables: Http2Stream[] = [];
  /** The output had no room for a stream's next frame. */
  private full = false;

  constructor(host: OutputHost) {
    this.host = host;
    const rfc = host.dialect === "rfc";
    // Between sidecars Huffman coding would cost more CPU than the octets that it saves are worth (README.md).
    this.encoder = new HpackEncoder({ huffman: rfc, lowerCase: rfc });
  }

  get pending(): boolean {
    return this.control.length > 0 || this.first !== null;
  }

  signal(): void {
    if (this.signalled) return;
    this.signalled = true;
    this.host.onOutput();
  }

  /** Puts a stream in line when it has something that may go out now. */
  schedule(stream: Http2Stream): void {
    if (stream.listed || stream.closed) return;
    if (!this.ready(stream)) return;
    this.append(stream);
    this.signal();
  }

  private append(stream: Http2Stream): void {
    stream.listed = true;
    stream.prev = this.last;
    if (this.last === null) this.first = stream;
    else this.last.next = stream;
    this.last = stream;
  }

  private remove(stream: Http2Stream): void {
    const { prev, next } = stream;
    if (prev === null) this.first = next;
    else prev.next = next;
    if (next === null) this.last = prev;
    else next.prev = prev;
    stream.prev = stream.next = null;
    stream.listed = false;
  }

  /** A stream has ended: whatever it still had to say is dropped. */
  forget(stream: Http2Stream): void {
    if (stream.listed) this.remove(stream);
    if (stream.parked) {
      this.parked.splice(this.parked.indexOf(stream), 1);
      stream.parked = false;
    }
  }

  private ready(stream: Http2Stream): boolean {
    if (stream.head !== null || stream.interims !== null) return true;
    if (!stream.opened) return false;
    if (stream.queued === 0) return stream.ending && !stream.localEnded;
    if (stream.sendWindow <= 0) return false;
    if (this.sendWindow > 0) return true;
    if (!stream.parked) {
      stream.parked = true;
      this.parked.push(stream);
    }
    return false;
  }

  /** The connection's window grew from nothing: those that waited for it get in line as they came. */
  unpark(): void {
    const parked = this.parked;
    this.parked = [];
    for (const stream of parked) {
      stream.parked = false;
      this.schedule(stream);
    }
  }

  take(bytesMax: number): Buffer | null {
    const size = this.measure(bytesMax);
    if (size === 0) {
      this.signalled = false;
      return null;
    }
    let out = slab;
    let start = slabAt;
    if (size > SLAB_BYTES / 2) {
      out = Buffer.allocUnsafeSlow(size);
      start = 0;
    } else if (SLAB_BYTES - slabAt < size) {
      out = slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      start = slabAt = 0;
    }
    const end = this.fill(out, start, start + size);
    if (out === slab) slabAt = end;
    if (!this.pending) this.signalled = false;
    if (this.writables.length > 0) this.tellWritables();
    return end === start ? null : out.subarray(start, end);
  }

  /** An upper bound of what goes out now; at least as much as control frames and the first stream's heads need. */
  private measure(bytesMax: number): number {
    let size = this.control.length;
    let window = this.sendWindow;
    for (let stream = this.first; stream !== null; stream = stream.next) {
      const heads =
        stream.headBytes === 0
          ? 0
          : stream.headBytes + FRAME_HEADER_BYTES * (4 + ((stream.headBytes / FRAME_PAYLOAD_DEFAULT) | 0) + (stream.interims?.length ?? 0));
      if (stream !== this.first && size + heads > bytesMax) break;
      const data = Math.max(0, Math.min(stream.queued, stream.sendWindow, window, STREAM_TURN_BYTES));
      window -= data;
      const frames = FRAME_HEADER_BYTES * (2 + ((data / FRAME_PAYLOAD_DEFAULT) | 0));
      size = Math.max(size + heads + FRAME_HEADER_BYTES, Math.min(size + heads + data + frames, bytesMax));
      if (size >= bytesMax) break;
    }
    return size;
  }

  private fill(out: Buffer, start: number, end: number): number {
    let pos = this.control.drain(out, start);
    const last = this.last;
    this.full = false;
    for (let stream = this.first; stream !== null; stream = this.first) {
      pos = this.turn(stream, out, pos, end);
      if (this.full) break;
      if (stream.listed) this.remove(stream);
      if (!stream.closed && this.ready(stream)) this.append(stream);
      if (stream === last) break;
    }
    return pos;
  }

  /** One stream's turn: its heads, at most 64 KiB of its body, and its end. */
  private turn(stream: Http2Stream, out: Buffer, start: number, end: number): number {
    let pos = start;
    if (stream.head !== null || stream.interims !== null) {
      if (this.tight(stream, pos, end)) return pos;
      pos = this.heads(stream, out, pos);
    }
    if (stream.queued > 0) pos = this.data(stream, out, pos, end);
    if (stream.queued === 0 && stream.ending && !stream.localEnded) {
      if (stream.trailers !== null) {
        if (this.tight(stream, pos, end)) return pos;
        const block = writeTrailers(this.encoder, stream.trailers, out, pos + FRAME_HEADER_BYTES);
        stream.trailers = null;
        stream.headBytes = 0;
        pos = this.frameBlock(stream.id, out, pos, block, true);
      } else {
        if (end - pos < FRAME_HEADER_BYTES) {
          this.full = true;
          return pos;
        }
        pos = writeFrameHeader(out, pos, 0, FRAME_DATA, FLAG_END_STREAM, stream.id);
      }
      this.ended(stream);
    }
    if (stream.wantsWritable && stream.queued * 2 <= this.host.sendQueueHighWater) {
      stream.wantsWritable = false;
      if (!stream.closed) this.writables.push(stream);
    }
    return pos;
  }

  /** Whether heads or trailers that wait might not fit. */
  private tight(stream: Http2Stream, pos: number, end: number): boolean {
    const frames = 4 + ((stream.headBytes / FRAME_PAYLOAD_DEFAULT) | 0) + (stream.interims?.length ?? 0);
    this.full = end - pos < stream.headBytes + FRAME_HEADER_BYTES * frames;
    return this.full;
  }

  private heads(stream: Http2Stream, out: Buffer, start: number): number {
    let pos = start;
    const { server, dialect } = this.host;
    if (stream.interims !== null) {
      for (const interim of stream.interims) {
        pos = this.frameBlock(stream.id, out, pos, writeResponse(this.encoder, interim, dialect, out, pos + FRAME_HEADER_BYTES), false);
      }
      stream.interims = null;
    }
    const head = stream.head;
    if (head === null) {
      stream.headBytes = 0;
      return pos;
    }
    stream.head = null;
    if (stream.trailers === null) stream.headBytes = 0;
    if (stream.id === 0) stream.id = this.host.assignId(stream);
    stream.opened = true;
    const at = pos + FRAME_HEADER_BYTES;
    const block = server
      ? writeResponse(this.encoder, head as ResponseHead, dialect, out, at)
      : writeRequest(this.encoder, head as RequestHead, dialect, out, at);
    const end = stream.ending && stream.queued === 0 && stream.trailers === null;
    pos = this.frameBlock(stream.id, out, pos, block, end);
    if (end) this.ended(stream);
    return pos;
  }

  /** Puts frame headers before a block that was written nine octets after `pos`; answers where it ends. */
  private frameBlock(id: number, out: Buffer, pos: number, blockEnd: number, end: boolean): number {
    const length = blockEnd - pos - FRAME_HEADER_BYTES;
    const endStream = end ? FLAG_END_STREAM : 0;
    if (length <= FRAME_PAYLOAD_DEFAULT) {
      writeFrameHeader(out, pos, length, FRAME_HEADERS, FLAG_END_HEADERS | endStream, id);
      return blockEnd;
    }
    const more = Math.ceil(length / FRAME_PAYLOAD_DEFAULT) - 1;
    for (let i = more; i > 0; i--) {
      // From the last part to the first, each makes room for the frame headers before it.
      const from = pos + FRAME_HEADER_BYTES + i * FRAME_PAYLOAD_DEFAULT;
      const to = Math.min(from + FRAME_PAYLOAD_DEFAULT, blockEnd);
      const at = from + (i - 1) * FRAME_HEADER_BYTES;
      out.copyWithin(at + FRAME_HEADER_BYTES, from, to);
      writeFrameHeader(out, at, to - from, FRAME_CONTINUATION, i === more ? FLAG_END_HEADERS : 0, id);
    }
    writeFrameHeader(out, pos, FRAME_PAYLOAD_DEFAULT, FRAME_HEADERS, endStream, id);
    return blockEnd + more * FRAME_HEADER_BYTES;
  }

  private data(stream: Http2Stream, out: Buffer, start: number, end: number): number {
    let pos = start;
    let budget = STREAM_TURN_BYTES;
    while (stream.queued > 0) {
      const allowed = Math.min(stream.queued, stream.sendWindow, this.sendWindow, this.frameMax, budget);
      if (allowed <= 0) return pos;
      const room = end - pos - FRAME_HEADER_BYTES;
      const count = Math.min(allowed, room);
      if (count < allowed && (count <= 0 || (count < SLIVER_BYTES && pos > start))) {
        this.full = true;
        return pos;
      }
      const ends = count === stream.queued && stream.ending && stream.trailers === null;
      pos = writeFrameHeader(out, pos, count, FRAME_DATA, ends ? FLAG_END_STREAM : 0, stream.id);
      stream.shift(out, pos, count);
      pos += count;
      budget -= count;
      stream.sendWindow -= count;
      this.sendWindow -= count;
      this.host.controls.earn(4);
      if (ends) this.ended(stream);
    }
    return pos;
  }

  private ended(stream: Http2Stream): void {
    stream.localEnded = true;
    this.host.localEnd(stream);
  }

  private tellWritables(): void {
    const writables = this.writables;
    this.writables = [];
    for (const stream of writables) {
      if (!stream.closed && !stream.ending && !this.host.dead) stream.events.onWritable();
    }
  }
}
