/** One HTTP/2 stream as its owner sees it: `Stream` of ../stream.ts, for both roles. */
import type { ClientEvents, Fields, RequestHead, ResetReason, ResponseHead, ServerEvents, Stream } from "../stream.ts";
import { CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM } from "./frames.ts";
import { worthAnnouncing } from "./flow.ts";
import type { ControlQueue } from "./control.ts";
import { INTERIMS_MAX } from "./limits.ts";
import { fieldsBytesMax, requestBytesMax, responseBytesMax } from "./message-write.ts";

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly server: boolean;
  readonly control: ControlQueue;
  /** Receive window of a stream. */
  readonly streamWindow: number;
  readonly sendQueueHighWater: number;
  /** A stream may have something to send now. */
  schedule(stream: Http2Stream): void;
  /** A control frame was written. */
  signal(): void;
  /** Bytes were queued or dropped. */
  countQueued(bytes: number): void;
  /** Ends the stream from our side. */
  abandon(stream: Http2Stream, code: number): void;
}

/**
 * Fields below the methods are the codec's own (incoming.ts, output.ts, connection.ts); an owner knows the
 * stream only by the interface. A head and its fields are encoded when they are taken, so an owner must not
 * change them after it wrote them.
 */
export class Http2Stream implements Stream<RequestHead>, Stream<ResponseHead> {
  private readonly host: StreamHost;
  events: ClientEvents | ServerEvents;
  /** 0 until a client's HEADERS are taken: ids must appear on the wire in order. */
  id: number;
  closed = false;
  /** Our HEADERS were taken. */
  opened = false;
  localEnded = false;
  remoteEnded = false;
  headReceived = false;
  /** The response has no body, whatever its fields say: HEAD, 204, 304. */
  bodyless = false;
  /** Refused by the codec itself: nothing but its answer is of interest. */
  rejected = false;
  interimsReceived = 0;

  // Receiving.
  /** What the peer may still send. */
  receiveLeft: number;
  /** Passed on by the owner, not yet given back to the peer. */
  consumed = 0;
  /** Octets missing of the declared length; -1: none was declared. */
  bodyLeft = -1;
  /** DATA frames since the owner last had passed on everything. */
  framesWaiting = 0;

  // Sending.
  sendWindow: number;
  head: RequestHead | ResponseHead | null = null;
  interims: ResponseHead[] | null = null;
  trailers: Fields | null = null;
  /** Upper bound of what head, interims and trailers that wait may take. */
  headBytes = 0;
  headWritten = false;
  /** The owner wrote its last. */
  ending = false;
  wantsWritable = false;
  /** The queue: its first chunk from `firstAt` on, then `rest` from `restAt` on. */
  first: Buffer | null = null;
  firstAt = 0;
  rest: Buffer[] | null = null;
  restAt = 0;
  queued = 0;
  /** In the list of those that have something to send. */
  listed = false;
  /** Waits for the connection's window. */
  parked = false;
  /** Place in the list of streams whose HEADERS were not taken yet; -1: not in it. */
  unsentAt = -1;
  prev: Http2Stream | null = null;
  next: Http2Stream | null = null;

  constructor(host: StreamHost, events: ClientEvents | ServerEvents, id: number, sendWindow: number) {
    this.host = host;
    this.events = events;
    this.id = id;
    this.sendWindow = sendWindow;
    this.receiveLeft = host.streamWindow;
  }

  writeHead(head: RequestHead | ResponseHead, end: boolean): void {
    if (this.closed || this.headWritten) return;
    this.headWritten = true;
    this.head = head;
    if ("method" in head) {
      this.headBytes += requestBytesMax(head);
      this.bodyless = head.method === "HEAD";
    } else {
      this.headBytes += responseBytesMax(head);
    }
    this.ending = end;
    this.host.schedule(this);
  }

  writeInterim(head: ResponseHead): void {
    if (this.closed || this.headWritten || !this.host.server || head.status === 101) return;
    this.interims ??= [];
    // An interim response is a courtesy; a peer that does not read gets no more of them.
    if (this.interims.length >= INTERIMS_MAX) return;
    this.interims.push(head);
    this.headBytes += responseBytesMax(head);
    this.host.schedule(this);
  }

  writeData(chunk: Buffer, end: boolean): boolean {
    if (this.closed || this.ending || !this.headWritten) return true;
    const length = chunk.length;
    if (length > 0) {
      if (this.first === null) this.first = chunk;
      else if (this.rest === null) this.rest = [chunk];
      else this.rest.push(chunk);
      this.queued += length;
      this.host.countQueued(length);
    }
    this.ending = end;
    if (length > 0 || end) this.host.schedule(this);
    if (this.queued <= this.host.sendQueueHighWater) return true;
    this.wantsWritable = true;
    return false;
  }

  writeTrailers(fields: Fields): void {
    if (this.closed || this.ending || !this.headWritten) return;
    this.ending = true;
    if (fields.length > 0) {
      this.trailers = fields;
      this.headBytes += fieldsBytesMax(fields);
    }
    this.host.schedule(this);
  }

  credit(bytes: number): void {
    if (this.closed || this.remoteEnded || !(bytes > 0)) return;
    const waiting = this.host.streamWindow - this.receiveLeft;
    this.consumed = Math.min(this.consumed + bytes, waiting);
    if (this.consumed === waiting) this.framesWaiting = 0;
    if (!worthAnnouncing(this.consumed, this.host.streamWindow)) return;
    this.host.control.windowUpdate(this.id, this.consumed);
    this.receiveLeft += this.consumed;
    this.consumed = 0;
    this.host.signal();
  }

  reset(reason: ResetReason): void {
    if (!this.closed) this.host.abandon(this, this.resetCode(reason));
  }

  /** Bytes of body that the owner holds. */
  get unconsumed(): number {
    return this.host.streamWindow - this.receiveLeft - this.consumed;
  }

  /** Moves the queue's next `count` bytes to `out` at `pos`. There are as many. */
  shift(out: Buffer, pos: number, count: number): void {
    let at = pos;
    let left = count;
    while (left > 0) {
      const chunk = this.first!;
      const take = Math.min(left, chunk.length - this.firstAt);
      if (take === chunk.length) out.set(chunk, at);
      else chunk.copy(out, at, this.firstAt, this.firstAt + take);
      at += take;
      left -= take;
      this.firstAt += take;
      if (this.firstAt === chunk.length) this.advance();
    }
    this.queued -= count;
    this.host.countQueued(-count);
  }

  /** Lets go of everything that waits to be sent. */
  drop(): void {
    this.host.countQueued(-this.queued);
    this.queued = 0;
    this.first = this.rest = this.head = this.interims = this.trailers = null;
    this.headBytes = 0;
  }

  private advance(): void {
    this.firstAt = 0;
    const rest = this.rest;
    if (rest === null) {
      this.first = null;
      return;
    }
    this.first = rest[this.restAt++]!;
    if (this.restAt === rest.length) {
      this.rest = null;
      this.restAt = 0;
    } else if (this.restAt === 1024) {
      // Sent chunks must not stay reachable while a long queue drains.
      rest.splice(0, this.restAt);
      this.restAt = 0;
    }
  }

  private resetCode(reason: ResetReason): number {
    // The whole response is out: the peer may keep it and only stops sending (RFC 9113 §8.1).
    if (this.host.server && this.localEnded) return NO_ERROR;
    if (reason === "internal") return INTERNAL_ERROR;
    // "Not processed" would be a lie once a response has begun.
    if ((reason === "refused" || reason === "overload") && !(this.host.server && this.opened)) return REFUSED_STREAM;
    return CANCEL;
  }
}
