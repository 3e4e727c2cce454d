/** For this room's tests: frames written and read the plain way, and a connection whose frames and events are kept. */
import type { ClientEvents, Fields, RequestHead, ResponseHead, ServerEvents, ServerStream } from "../../stream.ts";
import { Http2Connection, type Http2Options } from "../connection.ts";
import {
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_DATA,
  FRAME_HEADERS,
  FRAME_SETTINGS,
  PREFACE,
  readUint31,
  writeFrameHeader,
} from "../frames.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, id: number, payload: Uint8Array | string = ""): Buffer {
  const body = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
  const out = Buffer.alloc(9 + body.length);
  writeFrameHeader(out, 0, body.length, type, flags, id);
  out.set(body, 9);
  return out;
}

export const uint32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
};

/** A header block of plain literals, valid beside any table. */
export function block(fields: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    parts.push(Buffer.from([0]));
    for (const text of [fields[i]!, fields[i + 1]!]) {
      const rest = text.length - 127;
      const length = rest < 0 ? [text.length] : rest < 128 ? [127, rest] : [127, (rest & 127) | 128, ((rest >> 7) & 127) | 128, rest >> 14];
      parts.push(Buffer.from(length), Buffer.from(text, "latin1"));
    }
  }
  return Buffer.concat(parts);
}

export const GET = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a"];
export const POST = [":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a"];

export const headers = (id: number, fields: readonly string[], end = true): Buffer =>
  frame(FRAME_HEADERS, FLAG_END_HEADERS | (end ? FLAG_END_STREAM : 0), id, block(fields));
export const data = (id: number, payload: Uint8Array | string, end = false): Buffer =>
  frame(FRAME_DATA, end ? FLAG_END_STREAM : 0, id, payload);
export const SETTINGS: Buffer = frame(FRAME_SETTINGS, 0, 0);
/** What a client sends before its first request. */
export const HELLO: Buffer = Buffer.concat([PREFACE, SETTINGS]);

export function parseFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  let at = bytes.subarray(0, PREFACE.length).equals(PREFACE) ? PREFACE.length : 0;
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    frames.push({
      type: bytes[at + 3]!,
      flags: bytes[at + 4]!,
      id: readUint31(bytes, at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    });
    at += 9 + length;
  }
  return frames;
}

/** Events as lines; adjacent pieces of a body are one. */
export class Recorder implements ClientEvents, ServerEvents {
  readonly lines: string[] = [];
  bytes = 0;
  ended = false;
  onReceived: ((bytes: number) => void) | null = null;
  onRoom: (() => void) | null = null;
  private body: Buffer[] = [];

  onHead(head: RequestHead | ResponseHead, end: boolean): void {
    this.note(`head ${JSON.stringify(head)}${end ? " end" : ""}`);
    this.ended ||= end;
  }
  onInterim(head: ResponseHead): void {
    this.note(`interim ${head.status}`);
  }
  onData(chunk: Buffer, end: boolean): void {
    this.body.push(chunk);
    this.bytes += chunk.length;
    if (end) this.note("end");
    this.ended ||= end;
    this.onReceived?.(chunk.length);
  }
  onTrailers(fields: Fields): void {
    this.note(`trailers ${JSON.stringify(fields)}`);
    this.ended = true;
  }
  onReset(reason: string, detail: string): void {
    this.note(`reset ${reason}: ${detail}`);
  }
  onWritable(): void {
    this.onRoom?.();
  }
  /** All lines so far, what arrived of a body included. */
  get log(): string[] {
    this.flush();
    return this.lines;
  }
  private note(line: string): void {
    this.flush();
    this.lines.push(line);
  }
  private flush(): void {
    if (this.body.length === 0) return;
    const whole = Buffer.concat(this.body);
    this.body = [];
    if (whole.length > 0) this.lines.push(`data ${whole.length > 64 ? `of ${whole.length}` : whole.toString("latin1")}`);
  }
}

/** A connection with its frames and its owners' events kept. */
export class Probe {
  readonly connection: Http2Connection;
  readonly frames: Frame[] = [];
  readonly recorders: Recorder[] = [];
  readonly streams: ServerStream[] = [];
  readonly errors: [number, string][] = [];
  readonly goaways: [number, number][] = [];
  outputs = 0;
  idles = 0;
  now = 0;
  /** Called with each new server stream; null refuses it. */
  accept: ((stream: ServerStream) => ServerEvents | null) | null = null;

  constructor(options: Partial<Http2Options> & Pick<Http2Options, "role">) {
    this.connection = new Http2Connection({
      dialect: "weft",
      nowMs: () => this.now,
      onOutput: () => this.outputs++,
      onError: (code, detail) => this.errors.push([code, detail]),
      onGoaway: (last, code) => this.goaways.push([last, code]),
      onIdle: () => this.idles++,
      onStream: (stream) => {
        this.streams.push(stream);
        if (this.accept !== null) return this.accept(stream);
        const recorder = new Recorder();
        this.recorders.push(recorder);
        return recorder;
      },
      ...options,
    });
    this.connection.start();
  }

  /** A server that has greeted and been greeted. */
  static server(options: Partial<Http2Options> = {}): Probe {
    const probe = new Probe({ role: "server", ...options });
    probe.receive(HELLO);
    probe.drain();
    probe.frames.length = 0;
    return probe;
  }

  /** A client that has greeted and been greeted. */
  static client(options: Partial<Http2Options> = {}): Probe {
    const probe = new Probe({ role: "client", ...options });
    probe.receive(SETTINGS);
    probe.drain();
    probe.frames.length = 0;
    return probe;
  }

  /** A client and a server that have greeted each other. */
  static pair(clientOptions: Partial<Http2Options> = {}, serverOptions: Partial<Http2Options> = {}): { client: Probe; server: Probe } {
    const client = new Probe({ role: "client", ...clientOptions });
    const server = new Probe({ role: "server", ...serverOptions });
    pump(client.connection, server.connection);
    return { client, server };
  }

  receive(...parts: Buffer[]): void {
    this.connection.receive(Buffer.concat(parts));
  }

  /** Takes everything and keeps its frames; answers them. */
  drain(): Frame[] {
    const taken: Frame[] = [];
    for (let out = this.connection.take(); out !== null; out = this.connection.take()) taken.push(...parseFrames(out));
    this.frames.push(...taken);
    return taken;
  }

  /** Opens a stream and sends a head. */
  request(
    head: Partial<RequestHead> = {},
    end = true,
  ): { recorder: Recorder; stream: NonNullable<ReturnType<Http2Connection["request"]>> } {
    const recorder = new Recorder();
    const stream = this.connection.request(recorder);
    if (stream === null) throw new Error("no stream could be opened");
    stream.writeHead({ method: "GET", target: "/", authority: "a", version: 11, fields: [], contentLength: -1, ...head }, end);
    return { recorder, stream };
  }
}

/** Carries bytes between two connections until neither has any; `bytesMax` is given to `take`. */
export function pump(client: Http2Connection, server: Http2Connection, bytesMax?: number): void {
  for (;;) {
    const up = client.take(bytesMax);
    if (up !== null) server.receive(up);
    const down = server.take(bytesMax);
    if (down !== null) client.receive(down);
    if (up === null && down === null) return;
  }
}
