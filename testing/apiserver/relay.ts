import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP relay on loopback, between a client and its server: what a network does to a connection. */
export class Relay {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #isCut = false;

  private constructor(targetPort: number) {
    // Half-closes are forwarded one direction at a time, as a network does.
    this.#server = createServer({ allowHalfOpen: true }, (inner) => {
      if (this.#isCut) return void inner.destroy();
      const outer = connect({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true });
      const pair = [inner, outer] as const;
      this.#pairs.add(pair);
      for (const [from, to] of [pair, [outer, inner] as const]) {
        from.pipe(to);
        from.on("error", () => to.destroy());
        from.once("close", () => {
          to.destroy();
          this.#pairs.delete(pair);
        });
      }
    });
  }

  static start(targetPort: number): Promise<Relay> {
    const relay = new Relay(targetPort);
    return new Promise((resolve, reject) => {
      relay.#server.once("error", reject);
      relay.#server.listen(0, "127.0.0.1", () => resolve(relay));
    });
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets every connection. */
  kill(): void {
    for (const [inner, outer] of this.#pairs) {
      inner.resetAndDestroy();
      outer.destroy();
    }
  }

  /** Resets every connection and refuses new ones, until `restore`. */
  cut(): void {
    this.#isCut = true;
    this.kill();
  }

  restore(): void {
    this.#isCut = false;
  }

  /** Passes no byte on any more, on the connections that there are: half-open for both ends. */
  freeze(): void {
    for (const [inner, outer] of this.#pairs) {
      inner.unpipe(outer);
      outer.unpipe(inner);
    }
  }

  close(): Promise<void> {
    this.kill();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
