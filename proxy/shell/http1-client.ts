import net, { type Socket } from "node:net";
import { EVENT, ResponseDecoder } from "../protocol/http1/decoder.ts";
import { CHUNKED_END, COPY_BYTES_MAX, encodeChunk, encodeRequest, encodeTrailers } from "../protocol/http1/encoder.ts";
import { type Framing, requestFraming } from "../protocol/http1/framing.ts";
import type { ClientEvents, ClientStream, Fields, RequestHead, ResetReason, ResponseHead } from "../protocol/stream.ts";
import { Deadline } from "../resilience/deadlines.ts";
import type { ProxyError } from "../stack/errors.ts";
import type { Upstream } from "../stack/upstream.ts";
import { connectError, Output, READ_HIGH_WATER, type Wiring } from "./socket.ts";

const EMPTY = Buffer.alloc(0);

export interface Http1Target {
  readonly address: string;
  readonly port: number;
  /** Address to connect from; undefined: the system's choice. */
  readonly localAddress?: string;
  /** Makes a connection over TLS that has checked who the peer is by "secureConnect"; undefined: plaintext. */
  readonly secure?: () => Socket;
  readonly connectTimeoutMs: number;
  /** How long an unused connection is kept. Zero: never kept. */
  readonly idleTimeoutMs: number;
}

/** Most unused connections kept to one endpoint. */
const IDLE_CONNECTIONS_MAX = 256;

/** HTTP/1.1 connections to one endpoint; each carries one request at a time. */
export class Http1Pool {
  readonly target: Http1Target;
  readonly wiring: Wiring;
  private readonly idle: Http1ClientConnection[] = [];
  private readonly all = new Set<Http1ClientConnection>();
  private closed = false;
  /** Called with the change in the number of open connections. */
  onCount: (change: 1 | -1) => void = () => {};

  constructor(target: Http1Target, wiring: Wiring) {
    this.target = target;
    this.wiring = wiring;
  }

  /** A stream for one request; the connection behind it may still be being made. */
  open(events: ClientEvents, upstream: { upstream: Upstream | null }): ClientStream {
    // Last in, first out: the others grow old and are closed, and the one used last is the least likely to be closed by the peer.
    const connection = this.idle.pop() ?? this.connect();
    upstream.upstream = connection;
    return connection.open(events);
  }

  private connect(): Http1ClientConnection {
    const connection = new Http1ClientConnection(this);
    this.all.add(connection);
    this.onCount(1);
    return connection;
  }

  release(connection: Http1ClientConnection): boolean {
    if (this.closed || this.target.idleTimeoutMs <= 0 || this.idle.length >= IDLE_CONNECTIONS_MAX) return false;
    this.idle.push(connection);
    return true;
  }

  forget(connection: Http1ClientConnection): void {
    if (!this.all.delete(connection)) return;
    const i = this.idle.indexOf(connection);
    if (i >= 0) this.idle.splice(i, 1);
    this.onCount(-1);
  }

  /** Closes what is unused; requests in progress end on their own. */
  close(): void {
    this.closed = true;
    for (const connection of [...this.idle]) connection.destroy();
  }

  get size(): number {
    return this.all.size;
  }
}

class Http1ClientConnection implements Upstream {
  failure: ProxyError | null = null;
  established = false;
  /** Carried a request before the present one. */
  reused = false;
  bulk = 0;
  readonly socket: Socket;
  readonly output: Output;
  private readonly pool: Http1Pool;
  private readonly decoder = new ResponseDecoder();
  private readonly deadline: Deadline;
  private current: Http1ClientStream | null = null;
  private pulling = false;
  private paused = false;

  constructor(pool: Http1Pool) {
    this.pool = pool;
    const { address, port, localAddress, connectTimeoutMs } = pool.target;
    const { secure } = pool.target;
    const local = localAddress === undefined ? {} : { localAddress };
    const socket = secure?.() ?? net.connect({ host: address, port, noDelay: true, allowHalfOpen: false, ...local });
    this.socket = socket;
    // At the end of the turn, after every readable socket has been read: bytes that came unasked on an idle
    // connection are then seen before the next request is written to it (response queue poisoning, CVE-2026-48931).
    this.output = new Output(socket, pool.wiring.turn, pool.wiring.account);
    this.output.onRoom = () => this.current?.room();
    this.deadline = new Deadline(() => this.timedOut());
    pool.wiring.deadlines.arm(this.deadline, connectTimeoutMs);
    socket.on(secure === undefined ? "connect" : "secureConnect", () => {
      this.established = true;
      pool.wiring.deadlines.cancel(this.deadline);
    });
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.on("end", () => this.receiveEnd());
    socket.on("error", (error) => {
      if (!this.established) this.failure ??= connectError(error, `${address}:${port}`, secure !== undefined);
    });
    socket.on("close", () => this.gone());
  }

  open(events: ClientEvents): ClientStream {
    // Idle until now; while it is still being made, the connect timeout stays armed.
    if (this.established) this.pool.wiring.deadlines.cancel(this.deadline);
    const stream = new Http1ClientStream(this, events);
    this.current = stream;
    return stream;
  }

  expect(method: string): void {
    this.decoder.expect(method);
  }

  private receive(chunk: Buffer): void {
    const s = this.current;
    if (s === null || !s.sent) {
      // Nobody asked: the peer is broken or hostile, and what it says must not answer the next request.
      this.destroy();
      return;
    }
    this.decoder.push(chunk);
    this.pull();
  }

  private receiveEnd(): void {
    if (this.current === null || !this.current.sent) {
      this.destroy();
      return;
    }
    this.decoder.eof();
    this.pull();
  }

  pull(): void {
    if (this.pulling) return;
    this.pulling = true;
    while (this.current !== null && this.current.uncredited < READ_HIGH_WATER) {
      const event = this.decoder.next();
      if (event === EVENT.NEED) break;
      this.deliver(event, this.current);
    }
    this.pulling = false;
    const full = this.current !== null && this.current.uncredited >= READ_HIGH_WATER;
    if (full !== this.paused) {
      this.paused = full;
      if (full) this.socket.pause();
      else this.socket.resume();
    }
    if (this.current === null && this.decoder.buffered > 0) this.destroy();
  }

  private deliver(event: number, s: Http1ClientStream): void {
    const decoder = this.decoder;
    switch (event) {
      case EVENT.HEAD:
        if (decoder.end) this.responseDone(s);
        s.events.onHead(decoder.head as ResponseHead, decoder.end);
        return;
      case EVENT.INTERIM:
        s.events.onInterim(decoder.head as ResponseHead);
        return;
      case EVENT.DATA: {
        s.uncredited += decoder.data.length;
        const end = decoder.end;
        const data = decoder.data;
        if (end) this.responseDone(s);
        s.events.onData(data, end);
        return;
      }
      case EVENT.TRAILERS: {
        const trailers = decoder.trailers;
        this.responseDone(s);
        s.events.onTrailers(trailers);
        return;
      }
      case EVENT.END:
        this.responseDone(s);
        s.events.onData(EMPTY, true);
        return;
      default:
        this.current = null;
        this.failure = this.established ? null : this.failure;
        s.over = true;
        this.destroy();
        s.events.onReset(decoder.error?.truncated === true ? s.lost : "protocol", decoder.error?.detail ?? "malformed response");
    }
  }

  /** The response is whole. The connection is free once the request is, too. */
  private responseDone(s: Http1ClientStream): void {
    s.responseDone = true;
    this.maybeRelease(s);
  }

  maybeRelease(s: Http1ClientStream): void {
    if (this.current !== s || !s.responseDone) return;
    if (!s.requestDone) return;
    s.over = true;
    this.current = null;
    this.reused = true;
    if (this.paused) {
      this.paused = false;
      this.socket.resume();
    }
    const usable =
      this.decoder.keepAlive && this.decoder.buffered === 0 && !this.socket.destroyed && this.socket.readable && this.socket.writable;
    // Lets go of the last body bytes, which an idle connection would otherwise hold.
    if (usable) this.decoder.next();
    if (!usable || !this.pool.release(this)) {
      this.destroy();
      return;
    }
    this.pool.wiring.deadlines.arm(this.deadline, this.pool.target.idleTimeoutMs);
  }

  private timedOut(): void {
    if (!this.established) {
      const { address, port, connectTimeoutMs } = this.pool.target;
      this.failure = { code: "WEFT_CONNECT_TIMEOUT", detail: `${address}:${port} did not accept within ${connectTimeoutMs} ms` };
    }
    this.destroy();
  }

  destroy(): void {
    this.pool.forget(this);
    this.socket.destroy();
  }

  private gone(): void {
    this.pool.wiring.deadlines.cancel(this.deadline);
    this.pool.forget(this);
    this.output.drop();
    const s = this.current;
    this.current = null;
    if (s === null || s.over) return;
    s.over = true;
    s.events.onReset(s.lost, this.failure?.detail ?? "the connection closed before the response was complete");
  }
}

class Http1ClientStream implements ClientStream {
  readonly events: ClientEvents;
  requestDone = false;
  responseDone = false;
  over = false;
  uncredited = 0;
  /** Bytes of the request have been handed to the kernel, or will be at the end of this turn. */
  sent = false;
  private readonly connection: Http1ClientConnection;
  private framing: Framing | null = null;
  /** Held until the first body bytes or the end of the turn: one write for both. */
  private pendingHead: RequestHead | null = null;

  constructor(connection: Http1ClientConnection, events: ClientEvents) {
    this.connection = connection;
    this.events = events;
    connection.output.beforeFlush = () => {
      // Destroyed in this turn, but not closed yet: nothing goes out any more.
      if (connection.socket.destroyed) return;
      this.flushHead();
      this.sent = true;
      connection.output.beforeFlush = null;
    };
  }

  /** What the end of the connection means: while nothing was handed to the kernel, nobody can have processed the request. */
  get lost(): "closed" | "refused" {
    return this.sent ? "closed" : "refused";
  }

  writeInterim(): void {}

  writeHead(head: RequestHead, end: boolean): void {
    if (this.over || this.framing !== null) return;
    this.framing = requestFraming(head, end);
    this.connection.expect(head.method);
    this.pendingHead = head;
    if (end) {
      this.flushHead(null, true);
      this.finish();
    } else {
      this.connection.output.wake();
    }
  }

  /** Writes the head, with the first bytes of the body in the same buffer where they are few. False: no room. */
  private flushHead(body: Buffer | null = null, end = false): boolean {
    const head = this.pendingHead;
    if (head === null || this.framing === null) return true;
    this.pendingHead = null;
    const bytes = encodeRequest(head, this.framing, body, end);
    if (bytes !== null) return this.connection.output.write(bytes);
    // Nothing of it was written.
    this.broken("the request has octets that HTTP/1.1 cannot carry");
    return true;
  }

  private broken(detail: string): void {
    this.over = true;
    this.connection.destroy();
    this.events.onReset("internal", detail);
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
        this.broken("the trailers have octets that HTTP/1.1 cannot carry");
        return;
      }
      this.connection.output.write(bytes);
    }
    this.finish();
  }

  private finish(): void {
    this.requestDone = true;
    this.connection.maybeRelease(this);
  }

  credit(bytes: number): void {
    const before = this.uncredited;
    this.uncredited -= bytes;
    if (before >= READ_HIGH_WATER && this.uncredited < READ_HIGH_WATER && !this.over) this.connection.pull();
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
