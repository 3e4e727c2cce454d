import type { ServerHttp2Session } from "node:http2";
import type { Clock } from "#api/clock.ts";

const PING_EVERY_MS = 15_000;
const PING_ANSWER_MS_MAX = 10_000;
/** A connection without a stream is closed after so many pings. */
const IDLE_PINGS_MAX = 4;

/**
 * Pings the peer and ends a connection that does not answer or is not used: one that is only half there would keep
 * its subscriptions, and Programmed from coming true.
 */
export function keepAlive(session: ServerHttp2Session, clock: Clock): void {
  let streams = 0;
  let idlePings = 0;
  let cancel = (): void => {};
  const tick = (): void => {
    // Destroyed, and its socket not yet closed.
    if (session.destroyed) return;
    idlePings = streams === 0 ? idlePings + 1 : 0;
    if (idlePings > IDLE_PINGS_MAX) {
      // Not `close`: that waits for the peer to hang up, and one that never does would keep the socket.
      session.destroy();
      return;
    }
    const giveUp = clock.after(PING_ANSWER_MS_MAX, () => session.destroy(new Error("no answer to a PING")));
    cancel = giveUp;
    const sent = session.ping((error) => {
      giveUp();
      if (error === null && !session.destroyed) cancel = clock.after(PING_EVERY_MS, tick);
    });
    if (!sent) giveUp();
  };
  cancel = clock.after(PING_EVERY_MS, tick);
  session.on("stream", (stream) => {
    streams++;
    stream.once("close", () => streams--);
  });
  session.once("close", () => cancel());
}
