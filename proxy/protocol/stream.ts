/**
 * The one interface between codecs and exchanges. HTTP/1.1 connections and HTTP/2 connections both
 * offer their messages as streams; an exchange sees streams, never sockets.
 *
 * Chunks are never modified after they were handed over, by either side, so both may keep them.
 * All methods are synchronous and none throws on bad input from a peer. A method called on a stream
 * that has ended or was reset does nothing.
 */

/**
 * Header or trailer fields as a flat list: name, value, name, value… Names keep the octets and the order
 * in which they were received; both are "binary" (latin1) strings, one char an octet. Framing and
 * connection fields (content-length, transfer-encoding, connection and what it names, keep-alive,
 * proxy-connection, te other than trailers, trailer is kept, upgrade) are never in the list: codecs
 * take them out when they read and put their own in when they write.
 */
export type Fields = string[];

/** HTTP version of the original message: 10, 11 or 20. */
export type HttpVersion = 10 | 11 | 20;

export interface RequestHead {
  method: string;
  /** Origin-form ("/path?query") exactly as received, or "*" (OPTIONS). Never absolute-form. */
  target: string;
  /** Host header or :authority; "" when an HTTP/1.0 request had none. `host` is not in `fields`. */
  authority: string;
  version: HttpVersion;
  fields: Fields;
  /** Declared body length in bytes; -1 when none was declared (chunked, HTTP/2 without the field, or no body: see `end`). */
  contentLength: number;
}

export interface ResponseHead {
  /** 100–999. */
  status: number;
  /** Reason phrase, may be "". */
  reason: string;
  version: HttpVersion;
  fields: Fields;
  /** As in a request. For responses to HEAD and for 304 it is what the server wrote, though no body follows. */
  contentLength: number;
}

/**
 * Why a stream ended before its message did.
 * - `refused`: the peer promises that it has not processed the request (REFUSED_STREAM, GOAWAY above our id).
 * - `closed`: the connection ended or broke.
 * - `cancelled`: the peer reset the stream for reasons of its own.
 * - `protocol`: the peer broke the protocol; `detail` says how.
 * - `timeout`, `overload`, `internal`: set by our own side.
 */
export type ResetReason = "refused" | "closed" | "cancelled" | "protocol" | "timeout" | "overload" | "internal";

/** What a stream tells its owner. `Head` is what arrives: RequestHead on a server's stream, ResponseHead on a client's. */
export interface StreamEvents<Head> {
  /** `end`: no body and no trailers follow. */
  onHead(head: Head, end: boolean): void;
  /** Interim (1xx) response; never 101. Only on client streams. */
  onInterim(head: ResponseHead): void;
  /** Part of the body, not empty unless `end`. The owner must `credit` the bytes once it has passed them on. */
  onData(chunk: Buffer, end: boolean): void;
  /** Ends the message. */
  onTrailers(fields: Fields): void;
  /** The message will not be completed. No further event follows. */
  onReset(reason: ResetReason, detail: string): void;
  /** After `writeData` returned false: there is room again. */
  onWritable(): void;
}

/** What the owner of a stream may do. `Head` is what is sent. */
export interface Stream<Head> {
  writeHead(head: Head, end: boolean): void;
  /** Server streams only. */
  writeInterim(head: ResponseHead): void;
  /** False: bytes are queued beyond the high-water mark; wait for `onWritable`. The chunk is taken all the same. */
  writeData(chunk: Buffer, end: boolean): boolean;
  /** Ends the message. A carrier that cannot send trailers ends it without. */
  writeTrailers(fields: Fields): void;
  /** The bytes of `onData` have been passed on: the peer may send as many more. */
  credit(bytes: number): void;
  /** Gives up both directions. The peer never sees a body that looks complete. */
  reset(reason: ResetReason): void;
}

export type ServerStream = Stream<ResponseHead>;
export type ClientStream = Stream<RequestHead>;
export type ServerEvents = StreamEvents<RequestHead>;
export type ClientEvents = StreamEvents<ResponseHead>;
