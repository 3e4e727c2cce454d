import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Clock } from "#api/clock.ts";
import { VERSION } from "#api/version.ts";
import { type CallEvents, GrpcCall } from "../protocol/grpc/call.ts";
import { CODE_NAMES, concluded, DEADLINE_EXCEEDED, type GrpcStatus, OK, UNIMPLEMENTED } from "../protocol/grpc/status.ts";
import { Http2Connection } from "../protocol/http2/connection.ts";

/** A connection on which nothing was heard for so long is asked (PING) … */
const PING_AFTER_MS = 10_000;
/** … and given up when nothing at all is heard for so long after that (defaults of Linkerd). */
const PING_TIMEOUT_MS = 3_000;
/** Most bytes handed to the socket in one write. */
const WRITE_BYTES_MAX = 256 * 1024;
/** For the last words of a connection that we close. */
const LINGER_MS = 1_000;
/** A sidecar talks to one operator on one stream: no need for the wide pipe of a carrier. */
const CONNECTION_WINDOW_BYTES = 1024 * 1024;

export interface GrpcChannelOptions {
  /** "address:port"; an IPv6 address in brackets. */
  readonly address: string;
  /** Must verify the server: `operatorTls`. Nothing is sent before it has. */
  readonly tls: ConnectionOptions;
  readonly clock: Clock;
  /** Most bytes of one received message. */
  readonly messageBytesMax: number;
}

/** A call that did not end well. `cause` is what befell the connection, where that is the reason. */
export class GrpcError extends Error {
  readonly status: GrpcStatus;

  constructor(status: GrpcStatus, cause: Error | null) {
    super(explain(status), cause === null ? {} : { cause });
    this.name = "GrpcError";
    this.status = status;
  }
}

/** What a status says to people; never "". */
export function explain(status: GrpcStatus): string {
  return status.message === "" ? (CODE_NAMES[status.code] ?? "UNKNOWN") : status.message;
}

/**
 * One TLS connection with HTTP/2 on it, for gRPC calls. Moves bytes between the socket and the codec, one write a turn,
 * and watches that the peer is alive: a dead one is noticed within 13 s of its last byte, also while connecting.
 */
export class GrpcChannel {
  /** What befell the connection; null: nothing, or its peer closed it. */
  failure: Error | null = null;
  private readonly options: GrpcChannelOptions;
  private readonly authority: string;
  private readonly socket: TLSSocket;
  private readonly http2: Http2Connection;
  private secured = false;
  private scheduled = false;
  private blocked = true;
  private over = false;
  private heardMs: number;
  private pinged = false;
  private cancelTimer: () => void = () => {};

  /** Connects. Throws when the address is none, or Node takes the TLS options for wrong. */
  constructor(options: GrpcChannelOptions) {
    this.options = options;
    const { clock } = options;
    const url = new URL(`https://${options.address}`);
    this.authority = url.host;
    // Node's resolver wants IPv6 addresses bare.
    const host = url.hostname.replace(/^\[|\]$/g, "");
    this.socket = connect({ ...options.tls, host, port: Number(url.port || 443), ALPNProtocols: ["h2"] });
    this.socket.setNoDelay(true);
    this.http2 = new Http2Connection({
      role: "client",
      dialect: "rfc",
      nowMs: () => clock.monotonicMs(),
      onOutput: () => this.wake(),
      // Every call has been told; what `take` still gives goes out as last words.
      onError: () => this.close(),
      onGoaway: () => {},
      limits: { connectionWindow: CONNECTION_WINDOW_BYTES },
    });
    this.http2.start();
    this.heardMs = clock.monotonicMs();
    this.watch(PING_AFTER_MS);
    this.listen();
  }

  /** Begins a call; what is sent meanwhile waits for the connection. No event comes before this has returned. */
  call(path: string, events: CallEvents, timeoutMs?: number): GrpcCall {
    const { messageBytesMax } = this.options;
    const call = new GrpcCall(
      {
        path,
        authority: this.authority,
        userAgent: `weft/${VERSION}`,
        messageBytesMax,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      },
      events,
    );
    const stream = this.http2.request(call);
    if (stream === null) queueMicrotask(() => call.onReset("refused", "the connection takes no more calls"));
    else call.start(stream);
    return call;
  }

  /** Cancel the calls first: they are told otherwise. The connection itself tells nothing more, and is gone within a second. */
  close(): void {
    if (this.over) return;
    this.over = true;
    this.cancelTimer();
    this.http2.goaway();
    const lastWords = this.http2.take(WRITE_BYTES_MAX);
    this.http2.eof("closed");
    if (!this.secured) {
      this.socket.destroy();
      return;
    }
    if (lastWords !== null) this.socket.write(lastWords);
    this.cancelTimer = this.options.clock.after(LINGER_MS, () => this.socket.destroy());
    this.socket.destroySoon();
  }

  /** Breaks the connection; the calls are told soon, not in this call. */
  destroy(detail: string): void {
    this.failure ??= new Error(detail);
    this.socket.destroy();
  }

  private listen(): void {
    const { socket } = this;
    socket.on("secureConnect", () => {
      // Node has verified the chain and asked `checkServerIdentity`, or this would be an error already.
      if (!socket.authorized) this.destroy("the server's certificate was not verified");
      else if (socket.alpnProtocol !== "h2") this.destroy("the server does not speak HTTP/2 (ALPN h2)");
      else this.ready();
    });
    socket.on("data", (chunk: Buffer) => {
      if (this.over) return;
      this.heardMs = this.options.clock.monotonicMs();
      this.http2.receive(chunk);
    });
    socket.on("drain", () => {
      this.blocked = false;
      this.wake();
    });
    socket.on("end", () => {
      if (!this.over) socket.destroy();
    });
    socket.on("error", (error) => {
      this.failure ??= error;
    });
    socket.on("close", () => this.gone());
  }

  private ready(): void {
    if (this.over) return;
    this.secured = true;
    this.blocked = false;
    this.heardMs = this.options.clock.monotonicMs();
    this.wake();
  }

  private wake(): void {
    if (this.scheduled || this.blocked || this.over) return;
    this.scheduled = true;
    setImmediate(() => this.flush());
  }

  private flush(): void {
    this.scheduled = false;
    if (this.over || this.blocked) return;
    const bytes = this.http2.take(WRITE_BYTES_MAX);
    if (bytes !== null) this.blocked = !this.socket.write(bytes);
    if (this.http2.hasOutput) this.wake();
  }

  private watch(afterMs: number): void {
    this.cancelTimer();
    this.cancelTimer = this.options.clock.after(afterMs, () => this.look());
  }

  private look(): void {
    const silentMs = this.options.clock.monotonicMs() - this.heardMs;
    if (silentMs < PING_AFTER_MS) {
      this.pinged = false;
      this.watch(PING_AFTER_MS - silentMs);
    } else if (!this.pinged) {
      this.pinged = true;
      this.http2.ping(0);
      this.watch(PING_TIMEOUT_MS);
    } else {
      this.destroy(`${this.options.address} answered nothing for ${(PING_AFTER_MS + PING_TIMEOUT_MS) / 1000} s`);
    }
  }

  private gone(): void {
    this.cancelTimer();
    if (this.over) return;
    this.over = true;
    this.http2.eof(this.failure === null ? "the operator closed the connection" : reasonOf(this.failure));
  }
}

/** Where a name has several addresses and none answers, Node's error has a code and no message. */
function reasonOf(error: Error & { code?: unknown }): string {
  return error.message || String(error.code ?? error.name);
}

/** One call with one message each way, on a connection of its own. Rejects with GrpcError, or what the channel throws. */
export function callOnce(options: GrpcChannelOptions, path: string, request: Uint8Array, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const channel = new GrpcChannel(options);
    let answer: Buffer | null = null;
    const end = (status: GrpcStatus): void => {
      cancelDeadline();
      call.cancel();
      channel.close();
      if (status.code === OK && answer !== null) resolve(answer);
      else reject(new GrpcError(status.code === OK ? NOT_ONE : status, channel.failure));
    };
    const cancelDeadline = options.clock.after(timeoutMs, () =>
      end(concluded({ code: DEADLINE_EXCEEDED, message: `no answer from ${options.address}` })),
    );
    const onMessage = (message: Buffer): void => {
      if (answer !== null) end(NOT_ONE);
      answer = message;
    };
    const call = channel.call(path, { onMessage, onEnd: end }, timeoutMs);
    call.send(request, true);
  });
}

const NOT_ONE = concluded({ code: UNIMPLEMENTED, message: "not one message, but none or several" });
