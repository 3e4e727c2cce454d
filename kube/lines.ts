/**
 * Longest line of a watch, bytes. etcd takes objects of 1.5 MiB; as JSON with its managed fields one may be some
 * times that. Beyond it the peer is no API server.
 */
export const LINE_BYTES_MAX = 32 * 1024 * 1024;

/** Splits a stream of bytes at line feeds, wherever the network split it. Owns no socket; holds at most one unfinished line. */
export class LineSplitter {
  readonly #bytesMax: number;
  #parts: Uint8Array[] = [];
  #held = 0;

  constructor(bytesMax = LINE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes of the line that has not ended yet. */
  get held(): number {
    return this.#held;
  }

  /** The lines that ended with this chunk, without their feed and without empty ones; null: a line is too long, and nothing may be pushed any more. */
  push(chunk: Uint8Array): string[] | null {
    const lines: string[] = [];
    let from = 0;
    for (let feed = chunk.indexOf(10); feed !== -1; feed = chunk.indexOf(10, from)) {
      if (this.#held + feed - from > this.#bytesMax) return null;
      this.#parts.push(chunk.subarray(from, feed));
      const line = Buffer.concat(this.#parts).toString("utf8");
      if (line.trim() !== "") lines.push(line);
      this.#parts = [];
      this.#held = 0;
      from = feed + 1;
    }
    if (from < chunk.length) {
      this.#held += chunk.length - from;
      if (this.#held > this.#bytesMax) return null;
      this.#parts.push(chunk.subarray(from));
    }
    return lines;
  }
}
