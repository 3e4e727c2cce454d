import type { Socket } from "node:net";
import type { BufferAccount } from "../stack/turn.ts";

/** What happened on one TCP connection, once it is over. */
export interface PumpResult {
  /** Bytes from client to server, and back. */
  readonly sent: number;
  readonly received: number;
  /** "" when both sides ended in order. */
  readonly error: string;
}

export interface PumpMeters {
  readonly account: BufferAccount;
  /** Bytes from client to server; counted as they pass, for connections live long. */
  readonly sent: { inc(n: number): void };
  readonly received: { inc(n: number): void };
}

/** The TCP socket below a TLS socket. Node gives no way from one to the other, so who makes the pair says so here. */
const transports = new WeakMap<Socket, Socket>();

export function setTransport(tlsSocket: Socket, transport: Socket): void {
  transports.set(tlsSocket, transport);
}

/**
 * Ends a connection so that the peer sees an error (RST) and never an orderly end: `destroy` alone sends FIN, and
 * Node's TLS takes a FIN without close_notify for the end of the data, too.
 */
export function abort(socket: Socket): void {
  const transport = transports.get(socket) ?? socket;
  if (!("encrypted" in transport) && !transport.destroyed) transport.resetAndDestroy();
  socket.destroy();
}

/**
 * Passes bytes between two sockets until both directions have ended. A half-close is passed on, one
 * direction at a time; an error on either side destroys both, so that a broken stream never looks whole.
 */
export function pump(client: Socket, server: Socket, meters: PumpMeters, done: (result: PumpResult) => void): void {
  const { account } = meters;
  const state = { sent: 0, received: 0, error: "", open: 2, over: false, reported: 0 };
  const report = (): void => {
    state.reported = account.move(state.reported, state.over ? 0 : client.writableLength + server.writableLength);
  };
  const finish = (): void => {
    if (state.over) return;
    state.over = true;
    report();
    for (const socket of [client, server]) {
      if (state.error === "") socket.destroy();
      else abort(socket);
    }
    done({ sent: state.sent, received: state.received, error: state.error });
  };
  const direction = (from: Socket, to: Socket, count: (n: number) => void): void => {
    from.on("data", (chunk: Buffer) => {
      count(chunk.length);
      if (!to.write(chunk)) {
        from.pause();
        report();
      }
    });
    to.on("drain", () => {
      report();
      from.resume();
    });
    from.on("end", () => {
      to.end();
      if (--state.open === 0) {
        // Both ends were read to their end: wait until what is queued is written, then close.
        if (to.writableFinished && from.writableFinished) finish();
        else
          for (const s of [to, from])
            if (!s.writableFinished) s.once("finish", () => to.writableFinished && from.writableFinished && finish());
      }
    });
    from.on("error", (error) => {
      state.error ||= error.message;
      finish();
    });
    from.on("close", () => {
      if (state.open > 0 && !state.over && state.error === "") state.error = "closed early";
      finish();
    });
  };
  direction(client, server, (n) => {
    state.sent += n;
    meters.sent.inc(n);
  });
  direction(server, client, (n) => {
    state.received += n;
    meters.received.inc(n);
  });
  client.resume();
  server.resume();
}
