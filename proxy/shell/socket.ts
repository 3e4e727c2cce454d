import type { Socket } from "node:net";
import type { ErrorCode } from "#api/errors.ts";
import type { ProxyError } from "../stack/errors.ts";
import { type BufferAccount, type Flushable, Turn } from "../stack/turn.ts";
import type { Deadlines } from "../resilience/deadlines.ts";

/** What every connection of the data plane shares. */
export interface Wiring {
  readonly deadlines: Deadlines;
  readonly account: BufferAccount;
  /** End of this turn of the event loop: after every socket that was readable has been read. */
  readonly turn: Turn;
  /** End of this callback: for answers to a waiting client, where a turn's delay buys nothing. */
  readonly soon: Turn;
  nowMs(): number;
}

export function createWiring(deadlines: Deadlines, account: BufferAccount, nowMs: () => number): Wiring {
  return { deadlines, account, nowMs, turn: new Turn((f) => setImmediate(f)), soon: new Turn((f) => queueMicrotask(f)) };
}

/** Queued bytes above which `write` says "wait". */
export const WRITE_HIGH_WATER = 64 * 1024;
/** Unparsed bytes above which a socket is not read any further. */
export const READ_HIGH_WATER = 64 * 1024;
/** Buffers up to this size in all are copied into one for one write; larger ones go out as they are. */
const GATHER_BYTES_MAX = 32 * 1024;

/**
 * The output of one socket: what is written in a turn goes out in one call, and what it holds is
 * reported to the account.
 */
export class Output implements Flushable {
  readonly socket: Socket;
  private readonly turn: Turn;
  private readonly account: BufferAccount;
  private queue: Buffer[] = [];
  private queued = 0;
  private waiting = false;
  private reported = 0;
  private ended = false;
  private endAfter = false;
  /** Called when there is room again after `write` returned false. */
  onRoom: () => void = () => {};
  /** Called just before the bytes of a turn are written. */
  beforeFlush: (() => void) | null = null;

  constructor(socket: Socket, turn: Turn, account: BufferAccount) {
    this.socket = socket;
    this.turn = turn;
    this.account = account;
    socket.on("drain", this.drained);
  }

  get length(): number {
    return this.queued + this.socket.writableLength;
  }

  /** `write` said "wait", and there is no room yet. */
  get full(): boolean {
    return this.waiting;
  }

  /** False: wait for `onRoom`. The bytes are taken all the same. */
  write(bytes: Buffer): boolean {
    if (this.ended || this.endAfter) return true;
    this.queue.push(bytes);
    this.queued += bytes.length;
    this.wake();
    if (this.queued + this.socket.writableLength < WRITE_HIGH_WATER) return true;
    this.waiting = true;
    return false;
  }

  private scheduled = false;
  /** Asks for a `flush` at the end of the turn. */
  wake(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.turn.add(this);
  }

  /** Half-closes the socket after what was written. */
  end(): void {
    this.endAfter = true;
    this.wake();
  }

  flush(): void {
    this.beforeFlush?.();
    this.scheduled = false;
    const socket = this.socket;
    if (socket.destroyed) {
      this.drop();
      return;
    }
    const queue = this.queue;
    if (queue.length > 0) {
      if (queue.length === 1) socket.write(queue[0] as Buffer);
      else if (this.queued <= GATHER_BYTES_MAX) socket.write(Buffer.concat(queue, this.queued));
      else {
        socket.cork();
        for (const b of queue) socket.write(b);
        socket.uncork();
      }
      this.queue = [];
      this.queued = 0;
    }
    if (this.endAfter && !this.ended) {
      this.ended = true;
      socket.end();
    }
    this.reported = this.account.move(this.reported, socket.writableLength);
    if (this.waiting && socket.writableLength < WRITE_HIGH_WATER) this.room();
  }

  private readonly drained = (): void => {
    this.reported = this.account.move(this.reported, this.socket.writableLength + this.queued);
    if (this.waiting) this.room();
  };

  private room(): void {
    this.waiting = false;
    this.onRoom();
  }

  /** The socket is gone: nothing is held any more. */
  drop(): void {
    this.queue = [];
    this.queued = 0;
    this.ended = true;
    this.reported = this.account.move(this.reported, 0);
  }
}

/** Turns a system error of connect(2) or of the TLS handshake into ours. */
export function connectError(error: Error & { code?: string }, where: string, tls: boolean): ProxyError {
  const system = error.code ?? "";
  const detail = `${where}: ${error.message}`;
  if (!tls || /^E(CONN|HOST|NET|ADDR|TIMEDOUT|PIPE|ACCES)/.test(system)) return { code: "WEFT_CONNECT_FAILED", detail };
  const code: ErrorCode = system === "WEFT_PEER_IDENTITY" ? "WEFT_PEER_IDENTITY" : "WEFT_TLS_FAILED";
  return { code, detail };
}
