/** Control frames that wait to be written: they go out before any stream's, in the order they were made. */
import {
  FLAG_ACK,
  FRAME_GOAWAY,
  FRAME_HEADER_BYTES,
  FRAME_PING,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  PREFACE,
  writeFrameHeader,
  writeUint32,
} from "./frames.ts";

/** Room that an idle connection keeps. */
const ROOM_BYTES = 128;
/** Longest text beside a GOAWAY's code. */
const DETAIL_CHARS_MAX = 120;

export class ControlQueue {
  private bytes: Buffer = Buffer.allocUnsafe(ROOM_BYTES);
  /** Octets waiting. */
  length = 0;

  preface(): void {
    const at = this.room(PREFACE.length);
    PREFACE.copy(this.bytes, at);
  }

  /** `settings`: id, value, id, value… */
  settings(settings: readonly number[]): void {
    const at = this.room(FRAME_HEADER_BYTES + settings.length * 3);
    let pos = writeFrameHeader(this.bytes, at, settings.length * 3, FRAME_SETTINGS, 0, 0);
    for (let i = 0; i < settings.length; i += 2) {
      this.bytes[pos] = 0;
      this.bytes[pos + 1] = settings[i]!;
      pos = writeUint32(this.bytes, pos + 2, settings[i + 1]!);
    }
  }

  settingsAck(): void {
    const at = this.room(FRAME_HEADER_BYTES);
    writeFrameHeader(this.bytes, at, 0, FRAME_SETTINGS, FLAG_ACK, 0);
  }

  windowUpdate(id: number, increment: number): void {
    const at = this.room(FRAME_HEADER_BYTES + 4);
    writeUint32(this.bytes, writeFrameHeader(this.bytes, at, 4, FRAME_WINDOW_UPDATE, 0, id), increment);
  }

  rstStream(id: number, code: number): void {
    const at = this.room(FRAME_HEADER_BYTES + 4);
    writeUint32(this.bytes, writeFrameHeader(this.bytes, at, 4, FRAME_RST_STREAM, 0, id), code);
  }

  ping(payload: bigint): void {
    const at = this.room(FRAME_HEADER_BYTES + 8);
    this.bytes.writeBigUInt64BE(BigInt.asUintN(64, payload), writeFrameHeader(this.bytes, at, 8, FRAME_PING, 0, 0));
  }

  /** Answers a PING whose eight octets lie at `start`. */
  pingAck(chunk: Buffer, start: number): void {
    const at = this.room(FRAME_HEADER_BYTES + 8);
    chunk.copy(this.bytes, writeFrameHeader(this.bytes, at, 8, FRAME_PING, FLAG_ACK, 0), start, start + 8);
  }

  goaway(lastStreamId: number, code: number, detail: string): void {
    const text = detail.slice(0, DETAIL_CHARS_MAX);
    const at = this.room(FRAME_HEADER_BYTES + 8 + text.length);
    const pos = writeFrameHeader(this.bytes, at, 8 + text.length, FRAME_GOAWAY, 0, 0);
    this.bytes.write(text, writeUint32(this.bytes, writeUint32(this.bytes, pos, lastStreamId), code), "latin1");
  }

  /** Moves everything to `out` at `pos`; answers where it ends. */
  drain(out: Buffer, pos: number): number {
    if (this.length === 0) return pos;
    this.bytes.copy(out, pos, 0, this.length);
    const end = pos + this.length;
    this.length = 0;
    if (this.bytes.length > 4096) this.bytes = Buffer.allocUnsafe(ROOM_BYTES);
    return end;
  }

  /** Makes room and answers where it is. May put another buffer in place of `bytes`: call it before naming that. */
  private room(bytes: number): number {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.length, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, at);
      this.bytes = grown;
    }
    return at;
  }
}
