import fs from "node:fs";

/** Size at which a log is renamed to `<name>.1`, bytes; one old file is kept. */
const ROTATE_BYTES = 10 * 1024 * 1024;
/** Most of the last lines kept in memory to show when the process dies, characters. */
const TAIL_CHARS_MAX = 4096;

/** A log that never grows beyond twice `rotateBytes`. A full disk loses log lines and nothing else. */
export class LogFile {
  private fd: number;
  private size: number;
  private recent = "";
  private closed = false;
  private readonly path: string;
  private readonly rotateBytes: number;

  constructor(path: string, rotateBytes = ROTATE_BYTES) {
    this.path = path;
    this.rotateBytes = rotateBytes;
    this.fd = fs.openSync(path, "a", 0o600);
    this.size = fs.fstatSync(this.fd).size;
  }

  write(chunk: Buffer): void {
    // Late output of a process: the descriptor's number may already belong to another file.
    if (this.closed) return;
    this.recent = (this.recent + chunk.subarray(-TAIL_CHARS_MAX).toString("latin1")).slice(-TAIL_CHARS_MAX);
    try {
      if (this.size + chunk.length > this.rotateBytes) this.rotate();
      this.size += fs.writeSync(this.fd, chunk);
    } catch {
      // Nothing better can be done with it: the process that writes must not be stopped by its log.
    }
  }

  /** The last lines written, at most `count`. */
  tail(count: number): readonly string[] {
    const lines = Buffer.from(this.recent, "latin1")
      .toString("utf8")
      .split("\n")
      .filter((l) => l.trim() !== "");
    return lines.slice(-count);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    fs.closeSync(this.fd);
  }

  private rotate(): void {
    fs.closeSync(this.fd);
    fs.renameSync(this.path, `${this.path}.1`);
    this.fd = fs.openSync(this.path, "a", 0o600);
    this.size = 0;
  }
}
