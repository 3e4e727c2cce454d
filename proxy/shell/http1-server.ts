import type { Socket } from "node:net";
import { EVENT, RequestDecoder } from "../protocol/http1/decoder.ts";
import {
  CHUNKED_END,
  COPY_BYTES_MAX,
  encodeChunk,
  encodeInterimHead,
  encodeResponse,
  encodeTrailers,
  type ResponseOptions,
} from "../protocol/http1/encoder.ts";
import { type Framing, responseFraming } from "../protocol/http1/framing.ts";
import type { Fields, RequestHead, ResetReason, ResponseHead, ServerEvents, ServerStream } from "../protocol/stream.ts";
import { Deadline } from "../resilience/deadlines.ts";
import { errorBody, errorFields, type ProxyError, statusOf } from "../stack/errors.ts";
import { Output, READ_HIGH_WATER, type Wiring } from "./socket.ts";

/** A head that has begun must be complete after this long (slowloris). */
const HEAD_TIMEOUT_MS = 30_000;
/** How long what a client still sends is thrown away after the last response has been written, so that it can read that. */
const LINGER_MS = 1_000;
/** How long a client may read nothing of the last response's end before it is given up. */
const LAST_READ_MS = 300_000;
const EMPTY = Buffer.alloc(0);

export interface Http1ServerHandler {
  /** A request's head is complete: what its stream tells shall go to the returned object. */
  onStream(stream: ServerStream): ServerEvents;
  /** The client broke HTTP; it was answered and the connection ends. */
  onProtocolError(error: ProxyError): void;
  onClose(): void;
}

/** One HTTP/1.1 connection of a client: requests one after the other, pipelined ones wait. */
export class Http1ServerConnection {
  readonly socket: Socket;
  readonly wiring: Wiring;
  readonly output: Output;
  private readonly handler: Http1ServerHandler;
  private readonly decoder = new RequestDecoder();
  private current: Http1ServerStream | null = null;
  private pulling = false;
  private paused = false;
  private closed = false;
  private draining = false;
  private readonly deadline: Deadline;
  /** The last response was given: nothing is read any more. */
  private lingering = false;
  /** The client has half-closed: what it sent before is answered. */
  private ended = false;
  /** Bytes of the last response that were still queued when they were last looked at, and how often they were as many. */
  private left = 0;
  private stalls = 0;

  constructor(socket: Socket, wiring: Wiring, handler: Http1ServerHandler) {
    this.socket = socket;
    this.wiring = wiring;
    this.handler = handler;
    this.output = new Output(socket, wiring.soon, wiring.account);
    this.output.onRoom = () => {
      if (this.current !== null) this.current.room();
      else this.pull();
    };
    this.output.beforeFlush = () => this.current?.flushHead();
    this.deadline = new Deadline(() => this.timedOut());
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("end", () => this.receiveEnd());
    socket.on("error", () => {});
    socket.on("close", () => this.gone());
  }

  /** True between requests. */
  get idle(): boolean {
    return this.current === null && this.decoder.buffered === 0;
  }

  /** Takes no further request: ends now if idle, else with the response in progress. */
  drain(): void {
    this.draining = true;
    if (this.idle) this.linger();
  }

  receive(chunk: Buffer): void {
    if (this.closed || this.lingering) return;
    this.decoder.push(chunk);
    this.pull();
  }

  private receiveEnd(): void {
    if (this.closed) return;
    this.decoder.eof();
    this.ended = true;
    this.pull();
  }

  /** Reads on as far as the request in progress allows. */
  pull(): void {
    if (this.pulling) return;
    this.pulling = true;
    // `closed` comes a turn after the socket is destroyed, and a broken decoder gives the same error again and again.
    while (!this.closed && !this.lingering && !this.socket.destroyed) {
      const s = this.current;
      if (s !== null && (s.requestDone || s.uncredited >= READ_HIGH_WATER)) break;
      // A client that pipelines and does not read its responses: no further request until it does.
      if (s === null && this.output.full) break;
      const event = this.decoder.next();
      if (event === EVENT.NEED) break;
      this.deliver(event, s);
    }
    this.pulling = false;
    if (this.closed) return;
    if (this.ended && this.current === null && !this.output.full) this.output.end();
    this.regulate();
  }

  /** Stops and starts reading, and the clock for a head that has begun. */
  private regulate(): void {
    const full = this.decoder.buffered >= READ_HIGH_WATER || (this.current !== null && this.current.uncredited >= READ_HIGH_WATER);
    if (full !== this.paused) {
      this.paused = full;
      if (full) this.socket.pause();
      else this.socket.resume();
    }
    const headBegun = this.current === null && this.decoder.buffered > 0 && !this.lingering && !this.output.full;
    if (headBegun && !this.deadline.armed) this.wiring.deadlines.arm(this.deadline, HEAD_TIMEOUT_MS);
    else if (!headBegun && this.deadline.armed && !this.lingering) this.wiring.deadlines.cancel(this.deadline);
  }

  private deliver(event: number, s: Http1ServerStream | null): void {
    const decoder = this.decoder;
    if (event === EVENT.HEAD) {
      const head = decoder.head as RequestHead;
      const stream = new Http1ServerStream(this, head, decoder.end);
      this.current = stream;
      stream.events = this.handler.onStream(stream);
      stream.events.onHead(head, decoder.end);
    } else if (event === EVENT.ERROR) {
      this.refuse(s);
    } else if (s !== null) {
      if (event === EVENT.DATA) {
        s.uncredited += decoder.data.length;
        s.requestDone = decoder.end;
        if (!s.over) s.events.onData(decoder.data, decoder.end);
      } else {
        s.requestDone = true;
        if (s.over) return;
        if (event === EVENT.TRAILERS) s.events.onTrailers(decoder.trailers);
        else s.events.onData(EMPTY, true);
      }
    }
  }

  private refuse(s: Http1ServerStream | null): void {
    const bad = this.decoder.error;
    const error: ProxyError = { code: bad?.code ?? "WEFT_BAD_REQUEST", detail: bad?.detail ?? "malformed", status: bad?.status ?? 400 };
    const answerable = s === null || (!s.headSent && !s.over);
    if (s !== null && !s.over) {
      s.over = true;
      s.events.onReset("protocol", error.detail);
    }
    this.handler.onProtocolError(error);
    if (answerable) {
      const body = errorBody(error);
      const head: ResponseHead = {
        status: statusOf(error),
        reason: "",
        version: 11,
        fields: errorFields(error),
        contentLength: body.length,
      };
      const options: ResponseOptions = { keepAlive: false, downstreamVersion: 11 };
      const bytes = encodeResponse(head, { kind: "length", length: body.length }, body, true, options);
      if (bytes !== null) this.output.write(bytes);
      this.linger();
    } else {
      this.destroy();
    }
  }

  /** The response of the current request is complete. */
  finished(s: Http1ServerStream, close: boolean): void {
    if (this.current !== s) return;
    const keep = !close && s.requestDone && this.decoder.keepAlive && !this.draining;
    this.current = null;
    if (keep) this.pull();
    else this.linger();
  }

  mayKeepAlive(): boolean {
    return this.decoder.keepAlive && !this.draining;
  }

  /**
   * Sends FIN after what is queued, then discards what still comes for a moment. Closing with unread bytes makes the
   * kernel send RST, which can destroy the response before the client has read it (RFC 9112 §9.6).
   */
  private linger(): void {
    if (this.lingering) return;
    this.lingering = true;
    this.output.end();
    if (this.paused) this.socket.resume();
    this.wiring.deadlines.arm(this.deadline, LINGER_MS);
  }

  private timedOut(): void {
    if (!this.lingering) {
      this.destroy();
      return;
    }
    const left = this.output.length;
    this.stalls = left === this.left ? this.stalls + 1 : 0;
    this.left = left;
    // No RST: the kernel still delivers what a slow client has not read.
    if (left === 0 || this.stalls > LAST_READ_MS / LINGER_MS) this.socket.destroy();
    else this.wiring.deadlines.arm(this.deadline, LINGER_MS);
  }

  destroy(): void {
    // RST where the kernel offers it: a body that ends by closing must not look complete.
    if (typeof this.socket.resetAndDestroy === "function" && !("encrypted" in this.socket)) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  private gone(): void {
    if (this.closed) return;
    this.closed = true;
    this.wiring.deadlines.cancel(this.deadline);
    this.output.drop();
    const s = this.current;
    this.current = null;
    if (s !== null && !s.over) {
      s.over = true;
      s.events.onReset("closed", "the client closed the connection");
    }
    this.handler.onClose();
  }
}

class Http1ServerStream implements ServerStream {
  events!: ServerEvents;
  requestDone: boolean;
  /** Bytes of the request body that the owner has not passed on yet. */
  uncredited = 0;
  headSent = false;
  /** The response is complete, or the stream was reset. */
  over = false;
  private readonly connection: Http1ServerConnection;
  private readonly method: string;
  private readonly version: 10 | 11;
  private framing: Framing | null = null;
  private options: ResponseOptions = { keepAlive: false, downstreamVersion: 11 };
  /** Held until the first body bytes or the end of the turn: one write for both. */
  private pendingHead: ResponseHead | null = null;

  constructor(connection: Http1ServerConnection, head: RequestHead, requestDone: boolean) {
    this.connection = connection;
    this.method = head.method;
    this.version = head.version === 10 ? 10 : 11;
    this.requestDone = requestDone;
  }

  writeInterim(head: ResponseHead): void {
    if (this.over || this.headSent || this.version === 10) return;
    this.connection.output.write(encodeInterimHead(head));
  }

  writeHead(head: ResponseHead, end: boolean): void {
    if (this.over || this.headSent) return;
    this.headSent = true;
    const framing = responseFraming(head, end, this.method, this.version);
    this.framing = framing;
    // With the body of the request still coming, an early response ends the connection (RFC 9112 §9.3).
    const keepAlive = framing.kind !== "close" && this.connection.mayKeepAlive() && (this.requestDone || !end);
    this.options = { keepAlive, downstreamVersion: this.version };
    this.pendingHead = head;
    if (end) {
      this.flushHead(null, true);
      this.finish();
    } else {
      this.connection.output.wake();
    }
  }

  /** Writes the head, with the first bytes of the body in the same buffer where they are few. False: no room. */
  flushHead(body: Buffer | null = null, end = false): boolean {
    const head = this.pendingHead;
    if (head === null || this.framing === null) return true;
    this.pendingHead = null;
    const bytes = encodeResponse(head, this.framing, body, end, this.options);
    if (bytes !== null) return this.connection.output.write(bytes);
    // Octets that no response may have: nothing of it was written, and the client is told by the broken connection.
    this.reset("internal");
    return true;
  }

  writeData(chunk: Buffer, end: boolean): boolean {
    if (this.over || this.framing === null) return true;
    const bodiless = this.framing.kind === "none";
    const chunked = this.framing.kind === "chunked";
    let room = true;
    if (this.pendingHead !== null && chunk.length <= COPY_BYTES_MAX) {
      room = this.flushHead(bodiless || chunk.length === 0 ? null : chunk, end);
      if (end && chunked && chunk.length === 0) room = this.connection.output.write(CHUNKED_END);
    } else {
      this.flushHead();
      if (chunk.length > 0 && !bodiless) room = this.connection.output.write(chunked ? encodeChunk(chunk) : chunk);
      if (end && chunked) room = this.connection.output.write(CHUNKED_END);
    }
    if (end) this.finish();
    return room;
  }

  writeTrailers(fields: Fields): void {
    if (this.over || this.framing === null) return;
    this.flushHead();
    if (this.framing.kind === "chunked") {
      const bytes = encodeTrailers(fields);
      if (bytes === null) {
        // Unwritable trailers: the body must not look complete without them.
        this.reset("internal");
        return;
      }
      this.connection.output.write(bytes);
    }
    this.finish();
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.connection.finished(this, this.framing?.kind === "close");
  }

  credit(bytes: number): void {
    const before = this.uncredited;
    this.uncredited -= bytes;
    if (before >= READ_HIGH_WATER && this.uncredited < READ_HIGH_WATER) this.connection.pull();
  }

  reset(_reason: ResetReason): void {
    if (this.over) return;
    this.over = true;
    this.connection.destroy();
  }

  room(): void {
    if (!this.over) this.events.onWritable();
  }
}
