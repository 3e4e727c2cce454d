import type { Readable } from "node:stream";

/** What makes a request no review, as an HTTP status. */
export class BodyError extends Error {
  readonly statusCode: 400 | 408 | 413 | 415 | 503;

  constructor(statusCode: 400 | 408 | 413 | 415 | 503, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** Bytes of bodies now held, of all requests together: the port is open to the cluster, and memory is not without end. */
export class BodyBudget {
  readonly #bytesMax: number;
  #held = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get held(): number {
    return this.#held;
  }

  /** Reads a body of at most `bytesMax`. Rejects with BodyError; holds nothing afterwards, however it ended. */
  async read(stream: Readable, bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      // Left open when the loop is left: the answer goes out over the same connection.
      for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        this.#held += chunk.length;
        if (bytes > bytesMax) throw new BodyError(413, `a review of more than ${bytesMax} bytes is not read`);
        if (this.#held > this.#bytesMax) throw new BodyError(503, "too many reviews at once");
        chunks.push(chunk);
      }
      return Buffer.concat(chunks, bytes);
    } catch (error) {
      throw error instanceof BodyError ? error : new BodyError(400, "the body ended before it was complete");
    } finally {
      this.#held -= bytes;
    }
  }
}
