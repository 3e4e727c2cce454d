/** HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10): header blocks, and what the messages in them do to streams. */
import type { ClientEvents, RequestHead, ResponseHead, ServerEvents } from "../stream.ts";
import type { Http2Connection } from "./connection.ts";
import {
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_SIZE_ERROR,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  STREAM_CLOSED,
  readUint31,
} from "./frames.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { INTERIMS_MAX } from "./limits.ts";
import { readRequest, readResponse, readTrailers } from "./message-read.ts";
import { usualReason } from "./reasons.ts";
import type { Http2Stream } from "./stream.ts";

/** An answer of the codec's own to a list of fields above the limits (RFC 6585 §5). */
const TOO_LARGE: ResponseHead = { status: 431, reason: usualReason(431), version: 11, fields: [], contentLength: 0 };

const ignore = (): void => {};
/** Owner of a stream that the codec itself refused. */
const NOBODY: ServerEvents = { onHead: ignore, onInterim: ignore, onData: ignore, onTrailers: ignore, onReset: ignore, onWritable: ignore };

export class HeaderBlocks {
  private readonly connection: Http2Connection;
  private readonly decoder: HpackDecoder;
  /** A header block of several frames: its stream (0: none is open), flags and parts. */
  openId = 0;
  private flags = 0;
  private parts: Buffer[] = [];
  bytes = 0;

  constructor(connection: Http2Connection) {
    const { limits, dialect } = connection;
    this.connection = connection;
    this.decoder = new HpackDecoder({ listBytes: limits.headerListBytes, fields: limits.fields, cookieCrumbs: dialect === "rfc" });
  }

  /** Lets go of a block that came in parts. */
  stop(): void {
    this.parts = [];
    this.openId = this.bytes = 0;
  }

  headers(flags: number, id: number, chunk: Buffer, start: number, end: number): void {
    let from = start;
    let to = end;
    if (flags & FLAG_PADDED) {
      if (from >= to) {
        this.fatal(FRAME_SIZE_ERROR, "HEADERS cut off");
        return;
      }
      to -= chunk[from++]!;
    }
    let selfDependent = false;
    if (flags & FLAG_PRIORITY) {
      selfDependent = to - from >= 5 && readUint31(chunk, from) === id;
      from += 5;
    }
    if (from > to) {
      this.fatal(from > end ? FRAME_SIZE_ERROR : PROTOCOL_ERROR, "padding longer than its frame");
      return;
    }
    // Deprecated (RFC 9113 §5.3.2), and still only ever an attack or a bug.
    if (selfDependent) {
      this.fatal(PROTOCOL_ERROR, "stream that depends on itself");
      return;
    }
    if (flags & FLAG_END_HEADERS) {
      this.headerBlock(id, flags, chunk, from, to);
      return;
    }
    this.openId = id;
    this.flags = flags;
    this.parts = [Buffer.from(chunk.subarray(from, to))];
    this.bytes = to - from;
  }

  continuation(flags: number, chunk: Buffer, start: number, end: number): void {
    const { limits } = this.connection;
    this.parts.push(Buffer.from(chunk.subarray(start, end)));
    this.bytes += end - start;
    if (this.bytes > limits.headerListBytes || this.parts.length > limits.continuations) {
      this.fatal(ENHANCE_YOUR_CALM, "header block without end");
      return;
    }
    if ((flags & FLAG_END_HEADERS) === 0) return;
    const id = this.openId;
    const block = Buffer.concat(this.parts, this.bytes);
    this.openId = this.bytes = 0;
    this.parts = [];
    this.headerBlock(id, this.flags, block, 0, block.length);
  }

  private headerBlock(id: number, flags: number, block: Buffer, start: number, end: number): void {
    const decoder = this.decoder;
    const problem = decoder.decode(block, start, end);
    if (problem !== "") {
      this.fatal(COMPRESSION_ERROR, problem);
      return;
    }
    const ends = (flags & FLAG_END_STREAM) !== 0;
    const stream = this.connection.streams.get(id);
    if (stream !== undefined) this.headersOf(stream, ends);
    else if (this.connection.server && this.connection.isNew(id)) this.request(id, ends);
    else this.connection.lateFrame(id, "HEADERS");
    decoder.release();
  }

  private headersOf(stream: Http2Stream, ends: boolean): void {
    if (stream.remoteEnded) {
      this.streamError(stream, STREAM_CLOSED, "HEADERS after END_STREAM");
      return;
    }
    if (this.decoder.overflow) {
      this.streamError(stream, ENHANCE_YOUR_CALM, "header list above the limit");
      return;
    }
    if (stream.headReceived) this.trailers(stream, ends);
    else this.response(stream, ends);
  }

  private request(id: number, ends: boolean): void {
    const connection = this.connection;
    const admitted = connection.admit(id);
    if (connection.left) {
      // Sent before the client read our GOAWAY: its requests on their way are no attack.
      connection.rstStream(id, REFUSED_STREAM);
      return;
    }
    if (admitted !== "") {
      this.refuseRequest(id, REFUSED_STREAM, admitted);
      return;
    }
    if (this.decoder.overflow) {
      this.rejectTooLarge(id, ends);
      return;
    }
    const head = readRequest(this.decoder, connection.dialect, ends);
    if (typeof head === "string") {
      this.refuseRequest(id, PROTOCOL_ERROR, head);
      return;
    }
    this.deliverRequest(id, head, ends);
  }

  private deliverRequest(id: number, head: RequestHead, ends: boolean): void {
    const connection = this.connection;
    const stream = connection.accept(id, NOBODY);
    stream.headReceived = true;
    stream.remoteEnded = ends;
    stream.bodyLeft = head.contentLength;
    stream.bodyless = head.method === "HEAD";
    const events = connection.onStream(stream);
    if (events === null) {
      connection.abandon(stream, REFUSED_STREAM);
      return;
    }
    stream.events = events;
    if (!stream.closed) events.onHead(head, ends);
  }

  /** A request that no owner sees. Each counts as a stream that ended badly, whoever's RST_STREAM ended it. */
  private refuseRequest(id: number, code: number, detail: string): void {
    const connection = this.connection;
    connection.rstStream(id, code);
    connection.countReset(detail);
  }

  private rejectTooLarge(id: number, ends: boolean): void {
    const stream = this.connection.accept(id, NOBODY);
    stream.headReceived = true;
    stream.remoteEnded = ends;
    stream.rejected = true;
    stream.writeHead(TOO_LARGE, true);
    this.connection.countReset("header list above the limit");
  }

  private response(stream: Http2Stream, ends: boolean): void {
    const head = readResponse(this.decoder, this.connection.dialect);
    if (typeof head === "string") {
      this.streamError(stream, PROTOCOL_ERROR, head);
      return;
    }
    const events = stream.events as ClientEvents;
    if (head.status < 200) {
      if (ends) {
        this.streamError(stream, PROTOCOL_ERROR, "interim response that ends its stream");
        return;
      }
      if (++stream.interimsReceived > INTERIMS_MAX) {
        this.streamError(stream, ENHANCE_YOUR_CALM, "too many interim responses");
        return;
      }
      head.contentLength = -1;
      events.onInterim(head);
      return;
    }
    stream.headReceived = true;
    if (head.status === 204 || head.status === 304) stream.bodyless = true;
    stream.bodyLeft = stream.bodyless ? -1 : head.contentLength;
    if (ends && stream.bodyLeft > 0) {
      this.streamError(stream, PROTOCOL_ERROR, "content-length of a body that is not there");
      return;
    }
    if (ends) this.connection.remoteEnd(stream);
    events.onHead(head, ends);
  }

  private trailers(stream: Http2Stream, ends: boolean): void {
    if (!ends) {
      this.streamError(stream, PROTOCOL_ERROR, "second HEADERS without END_STREAM");
      return;
    }
    if (stream.bodyLeft > 0) {
      this.streamError(stream, PROTOCOL_ERROR, "DATA short of content-length");
      return;
    }
    const fields = readTrailers(this.decoder, this.connection.dialect);
    if (typeof fields === "string") {
      this.streamError(stream, PROTOCOL_ERROR, fields);
      return;
    }
    this.connection.remoteEnd(stream);
    stream.events.onTrailers(fields);
  }

  private fatal(code: number, detail: string): void {
    this.connection.fatal(code, detail);
  }

  private streamError(stream: Http2Stream, code: number, detail: string): void {
    this.connection.streamError(stream, code, detail);
  }
}
