import { once } from "node:events";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import type { Clock } from "#api/clock.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { ClientEvents, Fields, RequestHead, ResetReason, ResponseHead, ServerEvents, ServerStream } from "../protocol/stream.ts";
import { Deadlines } from "../resilience/deadlines.ts";
import { BufferAccount } from "../stack/turn.ts";
import { createWiring, type Wiring } from "./socket.ts";

/** For tests of the shell: both ends of real loopback sockets, played by hand, and waiting until something is so. */

const WAIT_MS_MAX = 4_500;
const LOOK_MS = 3;

/** Waits until `holds` answers something that is true, at most 4.5 s: less than jest waits for a test. */
export async function until<T>(what: string, holds: () => T | Promise<T>): Promise<NonNullable<T>> {
  const end = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const value = await holds();
    if (value) return value as NonNullable<T>;
    if (performance.now() > end) throw new Error(`not so after ${WAIT_MS_MAX / 1000} s: ${what}`);
    await new Promise<void>((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Lets everything that is already on its way arrive: a number of turns of the event loop. */
export async function turns(n = 20): Promise<void> {
  for (let i = 0; i < n; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

export interface Rig {
  readonly wiring: Wiring;
  readonly deadlines: Deadlines;
  readonly account: BufferAccount;
}

export function rig(clock: Clock = new SystemClock()): Rig {
  const deadlines = new Deadlines(clock);
  const account = new BufferAccount();
  return { deadlines, account, wiring: createWiring(deadlines, account, () => clock.monotonicMs()) };
}

const open = new Set<{ destroy(): void } | Server>();

/** Ends all servers and sockets that this module opened; for afterEach. */
export function closeAll(): void {
  for (const one of open) {
    if (one instanceof net.Server) one.close();
    else one.destroy();
  }
  open.clear();
}

/** Remembers something to be destroyed by `closeAll`. */
export function track<T extends { destroy(): void }>(one: T): T {
  open.add(one);
  return one;
}

/** One end of a connection as a test plays it: what it heard, as latin1 text. */
export class End {
  readonly socket: Socket;
  text = "";
  bytes = 0;
  ended = false;
  closed = false;
  /** It ended by RST. */
  broken = false;
  /** Past it, only bytes are counted. */
  static readonly TEXT_MAX = 4 * 1024 * 1024;

  constructor(socket: Socket) {
    this.socket = track(socket);
    socket.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.text.length < End.TEXT_MAX) this.text += chunk.toString("latin1");
    });
    socket.on("end", () => (this.ended = true));
    socket.on("error", () => (this.broken = true));
    socket.on("close", () => (this.closed = true));
  }

  write(text: string | Buffer): this {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
    return this;
  }

  /** Waits until what it heard matches. */
  async hears(pattern: RegExp): Promise<string> {
    await until(`${pattern} in ${JSON.stringify(this.text.slice(-500))}`, () => pattern.test(this.text) || this.closed);
    return this.text;
  }

  /** Everything that is heard until the peer ends. */
  async all(): Promise<string> {
    await until(`the end after ${JSON.stringify(this.text.slice(-500))}`, () => this.ended || this.closed);
    return this.text;
  }

  /** Waits until nothing is left of the connection; what the peer has ended is ended here, too. */
  async gone(): Promise<string> {
    await this.all();
    this.socket.end();
    await until(`the close after ${JSON.stringify(this.text.slice(-500))}`, () => this.closed);
    return this.text;
  }
}

export async function dial(port: number, host = "127.0.0.1"): Promise<End> {
  const socket = net.connect({ port, host, allowHalfOpen: true, noDelay: true });
  const end = new End(socket);
  await Promise.race([once(socket, "connect"), once(socket, "close")]).catch(() => {});
  return end;
}

export interface Backend {
  readonly port: number;
  readonly host: string;
  readonly server: Server;
  /** Connections in the order of their arrival. */
  readonly ends: End[];
  /** Waits for the nth connection, counted from 1. */
  nth(n: number): Promise<End>;
}

/** A listener whose connections are played by hand, or by `play`. */
export async function backend(play: (end: End) => void = () => {}, host = "127.0.0.1"): Promise<Backend> {
  const ends: End[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const end = new End(socket);
    ends.push(end);
    play(end);
  });
  open.add(server);
  server.listen(0, host);
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, host, server, ends, nth: (n) => until(`connection ${n}`, () => ends[n - 1]) };
}

/** A port on which nobody listens. */
export async function deadPort(): Promise<number> {
  const { port, server } = await backend();
  server.close();
  open.delete(server);
  return port;
}

/** What one stream told, written down. Credits at once unless `hold`. */
export class Heard<Head extends RequestHead | ResponseHead> implements ClientEvents, ServerEvents {
  head: Head | null = null;
  body = "";
  bytes = 0;
  end = false;
  trailers: Fields | null = null;
  reset = "";
  detail = "";
  writable = 0;
  hold = false;
  readonly interims: number[] = [];
  /** Bytes not credited yet. */
  owed = 0;
  stream!: { credit(bytes: number): void };
  onEvent: () => void = () => {};

  onHead(head: RequestHead | ResponseHead, end: boolean): void {
    this.head = head as Head;
    this.end = end;
    this.onEvent();
  }
  onInterim(head: ResponseHead): void {
    this.interims.push(head.status);
  }
  onData(chunk: Buffer, end: boolean): void {
    this.bytes += chunk.length;
    if (this.body.length < End.TEXT_MAX) this.body += chunk.toString("latin1");
    this.end = end;
    this.owed += chunk.length;
    if (!this.hold) this.pay();
    this.onEvent();
  }
  pay(): void {
    const owed = this.owed;
    this.owed = 0;
    if (owed > 0) this.stream.credit(owed);
  }
  onTrailers(fields: Fields): void {
    this.trailers = fields;
    this.end = true;
    this.onEvent();
  }
  onReset(reason: ResetReason, detail: string): void {
    this.reset = reason;
    this.detail = detail;
    this.onEvent();
  }
  onWritable(): void {
    this.writable++;
    this.onEvent();
  }
}

export class Served extends Heard<RequestHead> {
  declare stream: ServerStream;

  constructor(stream: ServerStream) {
    super();
    this.stream = stream;
  }

  answer(status: number, body = "", fields: Fields = []): void {
    this.stream.writeHead(reply(status, fields, body.length), body === "");
    if (body !== "") this.stream.writeData(Buffer.from(body, "latin1"), true);
  }
}

export function reply(status: number, fields: Fields = [], contentLength = -1): ResponseHead {
  return { status, reason: "", version: 11, fields, contentLength };
}

export function ask(method = "GET", target = "/", more: Partial<RequestHead> = {}): RequestHead {
  return { method, target, authority: "app", version: 11, fields: [], contentLength: -1, ...more };
}
