/** One call, on a client's stream that somebody else opens. */
import type { ClientEvents, ClientStream, Fields, RequestHead, ResetReason, ResponseHead } from "../stream.ts";
import { frameMessage, MessageReader } from "./messages.ts";
import {
  concluded,
  fieldOf,
  type GrpcFault,
  type GrpcStatus,
  INTERNAL,
  isGrpc,
  OK,
  statusOfFields,
  statusOfHttp,
  statusOfReset,
  timeoutValue,
  UNKNOWN,
} from "./status.ts";

export interface CallOptions {
  /** "/package.Service/Method". */
  readonly path: string;
  /** "host:port", as the server would name itself. */
  readonly authority: string;
  readonly userAgent: string;
  /** Most bytes of one received message. */
  readonly messageBytesMax: number;
  /** Told to the server, which may give up then; the owner must keep the time itself. Absent: none. */
  readonly timeoutMs?: number;
}

export interface CallEvents {
  /** One message, to be used or copied in the call. The call may be cancelled in it. */
  onMessage(message: Buffer): void;
  /** The call is over. Once and last; not after `cancel`. */
  onEnd(status: GrpcStatus): void;
  /** After `send` answered false: there is room again. */
  onWritable?(): void;
}

export class GrpcCall implements ClientEvents {
  private readonly options: CallOptions;
  private readonly events: CallEvents;
  private readonly reader: MessageReader;
  private stream: ClientStream | null = null;
  private headFields: Fields = [];
  private bodySeen = false;
  /** Our messages wait for the peer, and so do the bytes that it would be credited. */
  private full = false;
  private owed = 0;
  private over = false;

  constructor(options: CallOptions, events: CallEvents) {
    this.options = options;
    this.events = events;
    this.reader = new MessageReader(options.messageBytesMax);
  }

  /** Begins on a stream that was opened with this call as its events. */
  start(stream: ClientStream): void {
    const { path, authority, userAgent, timeoutMs } = this.options;
    const fields = ["te", "trailers", "content-type", "application/grpc", "user-agent", userAgent];
    if (timeoutMs !== undefined) fields.push("grpc-timeout", timeoutValue(timeoutMs));
    const head: RequestHead = { method: "POST", target: path, authority, version: 20, fields, contentLength: -1 };
    this.stream = stream;
    stream.writeHead(head, false);
  }

  /** False: so much waits that one should wait for `onWritable`. It is taken all the same. `last`: no other follows. */
  send(message: Uint8Array, last = false): boolean {
    if (this.over || this.stream === null) return true;
    const room = this.stream.writeData(frameMessage(message), last);
    this.full = !room;
    return room;
  }

  /** Gives the call up. No event follows. */
  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.stream?.reset("cancelled");
  }

  onHead(head: ResponseHead, end: boolean): void {
    if (this.over) return;
    this.headFields = head.fields;
    const status = statusOfFields(head.fields);
    const contentType = fieldOf(head.fields, "content-type");
    if (end) this.finish(status ?? statusOfHttp(head.status, " without grpc-status"));
    else if (head.status !== 200) this.finish(status ?? statusOfHttp(head.status, ""));
    else if (!isGrpc(contentType)) this.finish(statusOfHttp(200, ` with content-type ${contentType?.slice(0, 100) ?? "of nothing"}`));
  }

  onInterim(): void {}

  onData(chunk: Buffer, end: boolean): void {
    if (this.over) return;
    if (chunk.length > 0) this.bodySeen = true;
    const { messages, fault } = this.reader.receive(chunk);
    for (const message of messages) {
      this.events.onMessage(message);
      if (this.over) return;
    }
    if (fault !== null) this.finish(concluded(fault));
    else if (end) this.finish(this.withoutTrailers());
    else this.credit(chunk.length);
  }

  onTrailers(fields: Fields): void {
    if (this.over) return;
    const status = statusOfFields(fields) ?? this.withoutTrailers();
    this.finish(status.code === OK && this.reader.partial ? concluded(CUT_OFF) : status);
  }

  onReset(reason: ResetReason, detail: string): void {
    if (!this.over) this.finish(statusOfReset(reason, detail));
  }

  onWritable(): void {
    if (this.over) return;
    this.full = false;
    const owed = this.owed;
    this.owed = 0;
    this.stream?.credit(owed);
    this.events.onWritable?.();
  }

  /** A peer that does not read what we say gets nothing more of ours to fill either. */
  private credit(bytes: number): void {
    if (this.full) this.owed += bytes;
    else this.stream?.credit(bytes);
  }

  /** Some servers cannot end a stream with its head: the status then stands in the head, and an empty body follows. */
  private withoutTrailers(): GrpcStatus {
    const inHead = this.bodySeen ? null : statusOfFields(this.headFields);
    return inHead ?? concluded(this.reader.partial ? CUT_OFF : NO_STATUS);
  }

  private finish(status: GrpcStatus): void {
    this.over = true;
    // Our side may still be open; a stream that has ended is not touched by it.
    this.stream?.reset("cancelled");
    this.events.onEnd(status);
  }
}

const CUT_OFF: GrpcFault = { code: INTERNAL, message: "the body ends inside a message" };
const NO_STATUS: GrpcFault = { code: UNKNOWN, message: "the call ended without grpc-status" };
