import type { Socket } from "node:net";
import { Http2Connection, type Http2Options } from "../protocol/http2/connection.ts";
import { Deadline } from "../resilience/deadlines.ts";
import type { Flushable } from "../stack/turn.ts";
import { WRITE_HIGH_WATER, type Wiring } from "./socket.ts";

/** A carrier on which nothing was heard for so long is asked (PING) … */
const PING_AFTER_MS = 10_000;
/** … and given up when nothing at all is heard for so long after that (defaults of Linkerd). */
const PING_TIMEOUT_MS = 3_000;
/** Most bytes handed to the socket in one write. */
const WRITE_BYTES_MAX = 256 * 1024;

/**
 * One mTLS connection that carries HTTP/2 frames: moves bytes between the socket and the codec, one
 * write a turn, and watches that the peer is alive.
 */
export class Carrier implements Flushable {
  readonly socket: Socket;
  readonly http2: Http2Connection;
  private readonly wiring: Wiring;
  private readonly watch: Deadline;
  private pinged = false;
  private heard = 0;
  private scheduled = false;
  private blocked = true;
  private over = false;
  private reported = 0;
  private closing = false;
  /** Called once when the connection is gone. */
  onClose: (detail: string) => void = () => {};
  private detail = "the connection closed";

  constructor(socket: Socket, wiring: Wiring, options: Omit<Http2Options, "onOutput" | "onError" | "nowMs">) {
    this.socket = socket;
    this.wiring = wiring;
    this.http2 = new Http2Connection({
      ...options,
      nowMs: wiring.nowMs,
      onOutput: () => this.wake(),
      onError: (_code, detail) => {
        this.detail = detail;
        this.closing = true;
        this.wake();
      },
    });
    // Queued first, sent once the transport is ready: requests may be queued behind it meanwhile.
    this.http2.start();
    this.watch = new Deadline(() => this.check());
    socket.on("data", (chunk: Buffer) => {
      this.http2.receive(chunk);
      this.report();
    });
    socket.on("drain", () => {
      this.blocked = false;
      this.flush();
    });
    socket.on("end", () => socket.destroy());
    socket.on("error", (error) => {
      this.detail = error.message;
    });
    socket.on("close", () => this.gone());
  }

  /** The transport is ready to carry bytes. */
  start(): void {
    this.blocked = false;
    this.wiring.deadlines.arm(this.watch, PING_AFTER_MS);
    if (this.http2.hasOutput) this.wake();
  }

  private wake(): void {
    if (this.scheduled || this.blocked || this.over) return;
    this.scheduled = true;
    this.wiring.turn.add(this);
  }

  flush(): void {
    this.scheduled = false;
    if (this.over || this.blocked) return;
    const bytes = this.http2.take(WRITE_BYTES_MAX);
    if (bytes !== null) this.blocked = !this.socket.write(bytes) && this.socket.writableLength >= WRITE_HIGH_WATER;
    this.report();
    if (!this.blocked && this.http2.hasOutput) this.wake();
    else if (this.closing && !this.http2.hasOutput) this.socket.end();
  }

  private report(): void {
    this.reported = this.wiring.account.move(this.reported, this.over ? 0 : this.http2.bufferedBytes + this.socket.writableLength);
  }

  /**
   * No new streams; closes when the last one has ended. A server first waits until the peer has seen it, because
   * requests may be on their way: the codec tells of the end by `onError`.
   */
  drain(): void {
    if (this.closing || this.over) return;
    this.http2.goaway();
  }

  closeWhenIdle(): void {
    this.closing = this.closing || this.http2.activeStreams === 0;
    if (this.closing) this.wake();
    if (this.closing && this.blocked && !this.http2.hasOutput) this.socket.end();
  }

  get ending(): boolean {
    return this.closing || this.over;
  }

  private check(): void {
    if (this.over) return;
    const heard = this.http2.receivedBytes;
    if (heard !== this.heard || this.http2.activeStreams === 0) {
      this.heard = heard;
      this.pinged = false;
      this.wiring.deadlines.arm(this.watch, PING_AFTER_MS);
    } else if (!this.pinged) {
      this.pinged = true;
      this.http2.ping(0);
      this.wiring.deadlines.arm(this.watch, PING_TIMEOUT_MS);
    } else {
      this.destroy(`the peer answered nothing for ${(PING_AFTER_MS + PING_TIMEOUT_MS) / 1000} s`);
    }
  }

  destroy(detail: string): void {
    if (!this.over) this.detail = detail;
    this.socket.destroy();
  }

  private gone(): void {
    if (this.over) return;
    this.over = true;
    this.wiring.deadlines.cancel(this.watch);
    this.report();
    this.http2.eof(this.detail);
    this.onClose(this.detail);
  }
}
