/** What a peer's frames do (RFC 9113 §5.1, §6). A peer's frames are hostile: nothing here trusts an order or a number. */
import type { Http2Connection } from "./connection.ts";
import { WINDOW_MAX, worthAnnouncing } from "./flow.ts";
import type { FrameSink } from "./frame-reader.ts";
import { HeaderBlocks } from "./header-blocks.ts";
import {
  CANCEL,
  ENHANCE_YOUR_CALM,
  errorName,
  FLAG_ACK,
  FLAG_END_STREAM,
  FLOW_CONTROL_ERROR,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_SIZE_ERROR,
  FRAME_WINDOW_UPDATE,
  NO_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  readUint31,
  readUint32,
  STREAM_CLOSED,
} from "./frames.ts";
import type { Http2Stream } from "./stream.ts";

/** Above so much body waiting for an owner, small pieces are copied out of the chunk that they would keep alive. */
const DETACH_ABOVE_BYTES = 16 * 1024;

export class Incoming implements FrameSink {
  private readonly connection: Http2Connection;
  private readonly heads: HeaderBlocks;
  private settingsSeen = false;
  /** The connection's window for what we receive, and what came since it was last announced. */
  private receiveLeft: number;
  private received = 0;

  /** The stream whose DATA arrives; null: it is dropped. */
  private dataStream: Http2Stream | null = null;
  private dataEnds = false;

  constructor(connection: Http2Connection) {
    this.connection = connection;
    this.receiveLeft = connection.limits.connectionWindow;
    this.heads = new HeaderBlocks(connection);
  }

  /** Lets go of what came in parts. */
  stop(): void {
    this.heads.stop();
    this.dataStream = null;
  }

  /** Bytes of a header block that has not come whole. */
  get blockBytes(): number {
    return this.heads.bytes;
  }

  get dead(): boolean {
    return this.connection.dead;
  }

  fatal(code: number, detail: string): void {
    this.connection.fatal(code, detail);
  }

  /** What can be said of a frame by its nine octets alone. */
  begin(type: number, flags: number, id: number, length: number): boolean {
    if (this.heads.openId !== 0 && (type !== FRAME_CONTINUATION || id !== this.heads.openId))
      return this.refuse(PROTOCOL_ERROR, "frame inside a header block");
    if (!this.settingsSeen) {
      if (type !== FRAME_SETTINGS || flags & FLAG_ACK) return this.refuse(PROTOCOL_ERROR, "first frame is not SETTINGS");
      this.settingsSeen = true;
    }
    switch (type) {
      case FRAME_DATA:
      case FRAME_HEADERS:
      case FRAME_PRIORITY:
        return id !== 0 || this.refuse(PROTOCOL_ERROR, "frame of a stream on stream 0");
      case FRAME_RST_STREAM:
        if (id === 0) return this.refuse(PROTOCOL_ERROR, "RST_STREAM on stream 0");
        return length === 4 || this.refuse(FRAME_SIZE_ERROR, "RST_STREAM not of 4 octets");
      case FRAME_SETTINGS:
        if (id !== 0) return this.refuse(PROTOCOL_ERROR, "SETTINGS on a stream");
        if (flags & FLAG_ACK) return length === 0 || this.refuse(FRAME_SIZE_ERROR, "SETTINGS ACK with a payload");
        return length % 6 === 0 || this.refuse(FRAME_SIZE_ERROR, "SETTINGS cut off");
      case FRAME_PUSH_PROMISE:
        return this.refuse(PROTOCOL_ERROR, "PUSH_PROMISE");
      case FRAME_PING:
        if (id !== 0) return this.refuse(PROTOCOL_ERROR, "PING on a stream");
        return length === 8 || this.refuse(FRAME_SIZE_ERROR, "PING not of 8 octets");
      case FRAME_GOAWAY:
        if (id !== 0) return this.refuse(PROTOCOL_ERROR, "GOAWAY on a stream");
        return length >= 8 || this.refuse(FRAME_SIZE_ERROR, "GOAWAY cut off");
      case FRAME_WINDOW_UPDATE:
        return length === 4 || this.refuse(FRAME_SIZE_ERROR, "WINDOW_UPDATE not of 4 octets");
      case FRAME_CONTINUATION:
        return this.heads.openId !== 0 || this.refuse(PROTOCOL_ERROR, "CONTINUATION without HEADERS");
      default:
        // Unknown types must be ignored (RFC 9113 §4.1), but not without end.
        this.connection.calm(1);
        return false;
    }
  }

  frame(type: number, flags: number, id: number, chunk: Buffer, start: number, end: number): void {
    switch (type) {
      case FRAME_DATA:
        this.paddedData(flags, id, chunk, start, end);
        return;
      case FRAME_HEADERS:
        this.heads.headers(flags, id, chunk, start, end);
        return;
      case FRAME_CONTINUATION:
        this.heads.continuation(flags, chunk, start, end);
        return;
      case FRAME_PRIORITY:
        this.priority(id, chunk, start, end - start);
        return;
      case FRAME_RST_STREAM:
        this.rstStream(id, readUint32(chunk, start));
        return;
      case FRAME_SETTINGS:
        this.settings(flags, chunk, start, end);
        return;
      case FRAME_PING:
        this.ping(flags, chunk, start);
        return;
      case FRAME_GOAWAY:
        this.connection.peerGoaway(readUint31(chunk, start), readUint32(chunk, start + 4));
        return;
      default:
        this.windowUpdate(id, readUint31(chunk, start));
    }
  }

  private refuse(code: number, detail: string): boolean {
    this.connection.fatal(code, detail);
    return false;
  }

  // DATA (§6.1)

  private paddedData(flags: number, id: number, chunk: Buffer, start: number, end: number): void {
    const padding = start < end ? chunk[start]! : 0;
    if (start === end || padding >= end - start) {
      this.fatal(PROTOCOL_ERROR, "padding longer than its frame");
      return;
    }
    this.dataBegin(id, flags, end - start, end - start - 1 - padding);
    this.dataPiece(chunk, start + 1, end - padding, true);
  }

  dataBegin(id: number, flags: number, flowLength: number, length: number): void {
    const connection = this.connection;
    const ends = (flags & FLAG_END_STREAM) !== 0;
    this.dataStream = null;
    this.dataEnds = ends;
    this.receiveLeft -= flowLength;
    if (this.receiveLeft < 0) {
      this.fatal(FLOW_CONTROL_ERROR, "DATA beyond the connection's window");
      return;
    }
    // Credited on receipt: a stalled stream must not stall another (DESIGN section 6).
    this.received += flowLength;
    if (worthAnnouncing(this.received, connection.limits.connectionWindow)) {
      connection.control.windowUpdate(0, this.received);
      this.receiveLeft += this.received;
      this.received = 0;
      connection.signal();
    }
    if (length === 0 && !ends && !connection.calm(1)) return;
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      connection.lateFrame(id, "DATA");
      return;
    }
    const problem = this.judgeData(stream, flowLength, length, ends);
    if (problem !== "") return;
    stream.consumed += flowLength - length;
    this.dataStream = stream;
  }

  /** Counts a DATA frame on its stream; not "": the stream was ended for it. */
  private judgeData(stream: Http2Stream, flowLength: number, length: number, ends: boolean): string {
    if (stream.remoteEnded) return this.streamError(stream, STREAM_CLOSED, "DATA after END_STREAM");
    if (!stream.headReceived) return this.streamError(stream, PROTOCOL_ERROR, "DATA before HEADERS");
    stream.receiveLeft -= flowLength;
    if (stream.receiveLeft < 0) return this.streamError(stream, FLOW_CONTROL_ERROR, "DATA beyond the stream's window");
    if (length > 0 && !this.connection.server && stream.bodyless)
      return this.streamError(stream, PROTOCOL_ERROR, "DATA of a response without body");
    if (stream.bodyLeft >= 0) {
      // Judged by the frame's length, before a byte of it is passed on: a body must never look complete that is not.
      if (length > stream.bodyLeft) return this.streamError(stream, PROTOCOL_ERROR, "DATA beyond content-length");
      stream.bodyLeft -= length;
      if (ends && stream.bodyLeft > 0) return this.streamError(stream, PROTOCOL_ERROR, "DATA short of content-length");
    }
    if (length > 0 && ++stream.framesWaiting > this.connection.limits.unconsumedFrames) {
      return this.streamError(stream, ENHANCE_YOUR_CALM, "too many small DATA frames");
    }
    return "";
  }

  dataPiece(chunk: Buffer, start: number, end: number, last: boolean): void {
    const stream = this.dataStream;
    if (last) this.dataStream = null;
    if (stream === null || stream.closed) return;
    const ends = last && this.dataEnds;
    if (ends) this.connection.remoteEnd(stream);
    if (stream.rejected || (start === end && !ends)) return;
    let piece = chunk.subarray(start, end);
    if (stream.unconsumed > DETACH_ABOVE_BYTES && (end - start) * 2 < chunk.length) piece = Buffer.from(piece);
    stream.events.onData(piece, ends);
  }

  private streamError(stream: Http2Stream, code: number, detail: string): string {
    this.connection.streamError(stream, code, detail);
    return detail;
  }

  // The others (§6.3 to §6.9)

  private priority(id: number, chunk: Buffer, start: number, length: number): void {
    if (length !== 5) {
      this.fatal(FRAME_SIZE_ERROR, "PRIORITY not of 5 octets");
      return;
    }
    if (readUint31(chunk, start) === id) {
      this.fatal(PROTOCOL_ERROR, "stream that depends on itself");
      return;
    }
    this.connection.calm(1);
  }

  private rstStream(id: number, code: number): void {
    const connection = this.connection;
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      if (connection.isIdle(id)) {
        this.fatal(PROTOCOL_ERROR, "RST_STREAM of an idle stream");
        return;
      }
      connection.calm(1);
      return;
    }
    if (!connection.server && stream.remoteEnded) {
      connection.stopSending(stream);
      return;
    }
    connection.close(stream);
    const promised = code === REFUSED_STREAM && !connection.server && !stream.headReceived;
    stream.events.onReset(promised ? "refused" : "cancelled", code === CANCEL || code === NO_ERROR ? "peer" : errorName(code));
    if (connection.server) connection.countReset("streams reset");
  }

  private settings(flags: number, chunk: Buffer, start: number, end: number): void {
    if (flags & FLAG_ACK) {
      this.connection.calm(1);
      return;
    }
    this.connection.peerSettings(chunk, start, end);
  }

  private ping(flags: number, chunk: Buffer, start: number): void {
    const connection = this.connection;
    if (flags & FLAG_ACK) {
      connection.pong(chunk.readBigUInt64BE(start));
      return;
    }
    if (!connection.calm(1)) return;
    connection.control.pingAck(chunk, start);
    connection.signal();
  }

  private windowUpdate(id: number, increment: number): void {
    const connection = this.connection;
    if (!connection.calm(1)) return;
    if (id === 0) {
      if (increment === 0) {
        this.fatal(PROTOCOL_ERROR, "WINDOW_UPDATE of zero");
        return;
      }
      connection.growWindow(increment);
      return;
    }
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      if (connection.isIdle(id)) this.fatal(PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream");
      return;
    }
    if (increment === 0) {
      connection.streamError(stream, PROTOCOL_ERROR, "WINDOW_UPDATE of zero");
      return;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > WINDOW_MAX) {
      connection.streamError(stream, FLOW_CONTROL_ERROR, "window too large");
      return;
    }
    connection.schedule(stream);
  }
}
