/** One HTTP/2 connection without its socket, in either role (RFC 9113). README.md says how a shell drives it. */
import type { ClientEvents, ClientStream, ServerEvents, ServerStream } from "../stream.ts";
import { Budget } from "./budget.ts";
import type { ControlQueue } from "./control.ts";
import { WINDOW_DEFAULT, WINDOW_MAX } from "./flow.ts";
import { FrameReader } from "./frame-reader.ts";
import { ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, NO_ERROR, PROTOCOL_ERROR, STREAM_CLOSED } from "./frames.ts";
import { Incoming } from "./incoming.ts";
import { DEFAULT_LIMITS, type Http2Limits, RECENT_RESETS, TAKE_BYTES_DEFAULT } from "./limits.ts";
import type { Dialect } from "./message-read.ts";
import { Output, type OutputHost } from "./output.ts";
import { ownSettings, PeerSettings } from "./settings.ts";
import { Http2Stream, type StreamHost } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";

export interface Http2Options {
  readonly role: "client" | "server";
  /** `weft`: between our sidecars. `rfc`: any HTTP/2 peer. */
  readonly dialect: Dialect;
  /** Monotonic milliseconds (Clock.monotonicMs), asked only when a budget runs dry. */
  nowMs(): number;
  /** Output became pending. Called once until a `take` has drained everything; the shell writes once a turn. */
  onOutput(): void;
  /**
   * Server: a request's head is about to be delivered. Answers the events of the new stream, on which `onHead`
   * then follows, or null to refuse it (REFUSED_STREAM: the client may try elsewhere).
   */
  onStream?(stream: ServerStream): ServerEvents | null;
  /**
   * The connection is over: the peer broke the protocol (`code` is RFC 9113's), or after a GOAWAY the last
   * stream ended (`code` 0). Every stream has had its last event. The shell writes what `take` still gives, then closes.
   */
  onError(code: number, detail: string): void;
  /** The peer drains. No new streams; streams above `lastStreamId` have been reset as "refused". */
  onGoaway(lastStreamId: number, code: number): void;
  /** The last stream ended. */
  onIdle?(): void;
  /** The answer to a `ping`; a number where it is a safe integer. */
  onPong?(payload: bigint | number): void;
  readonly limits?: Partial<Http2Limits>;
}

/** No `take` gives less room: every frame but DATA fits, and DATA makes progress. */
const TAKE_BYTES_MIN = 1024;
/** What our PING carries that asks whether the peer has seen our GOAWAY. */
const DRAIN_PING = 0x77_65_66_74_64_72_61_6en;

const NOTHING_RECENT = new Uint32Array(0);

export class Http2Connection implements StreamHost, OutputHost {
  readonly server: boolean;
  readonly dialect: Dialect;
  readonly limits: Http2Limits;
  readonly streamWindow: number;
  readonly sendQueueHighWater: number;
  readonly controls: Budget;
  readonly control: ControlQueue;
  /** Streams with an id. */
  readonly streams = new StreamTable<Http2Stream>();
  /** Neither reads nor opens anything any more; control frames may still be taken. */
  dead = false;

  private readonly options: Http2Options;
  private readonly output: Output;
  private readonly incoming: Incoming;
  private readonly reader: FrameReader;
  private readonly resets: Budget;
  private readonly peer = new PeerSettings();
  private peerSettingsSeen = false;
  /** Client streams whose HEADERS were not taken yet. */
  private readonly unsent: Http2Stream[] = [];
  private active = 0;
  private nextId = 1;
  private lastPeerId = 0;
  private bytesReceived = 0;
  private recent: Uint32Array = NOTHING_RECENT;
  private recentAt = 0;
  /** Our GOAWAY: not sent; sent, but new streams are still taken until the peer has seen it; final. */
  private leaving: "no" | "announced" | "final" = "no";
  private peerLeaves = false;
  private depth = 0;
  private idleDue = false;

  constructor(options: Http2Options) {
    this.options = options;
    this.server = options.role === "server";
    this.dialect = options.dialect;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    // Below the protocol's default a peer could break the window before it has read of it.
    this.streamWindow = Math.max(limits.streamWindow, WINDOW_DEFAULT);
    this.limits = { ...limits, streamWindow: this.streamWindow, connectionWindow: Math.max(limits.connectionWindow, WINDOW_DEFAULT) };
    this.sendQueueHighWater = limits.sendQueueHighWater;
    this.controls = new Budget(limits.controlBurst, limits.controlsPerSecond, options.nowMs);
    this.resets = new Budget(limits.resetBurst, limits.resetsPerSecond, options.nowMs);
    this.output = new Output(this);
    this.control = this.output.control;
    this.incoming = new Incoming(this);
    this.reader = new FrameReader(this.incoming, this.server);
  }

  /** Queues the preface, SETTINGS and the connection's window. Once, before anything else. */
  start(): void {
    if (!this.server) this.control.preface();
    this.control.settings(ownSettings(this.limits, this.server));
    const more = this.limits.connectionWindow - WINDOW_DEFAULT;
    if (more > 0) this.control.windowUpdate(0, more);
    this.output.signal();
  }

  /** Bytes of the peer, split anywhere. Pieces of `chunk` are passed on to owners: it must not be written to again. */
  receive(chunk: Buffer): void {
    if (this.dead) return;
    this.bytesReceived += chunk.length;
    this.depth++;
    try {
      this.reader.receive(chunk);
      if (this.control.length > this.limits.controlQueueBytes) this.fatal(ENHANCE_YOUR_CALM, "peer does not read");
    } finally {
      this.depth--;
    }
    this.settle();
  }

  /** The transport ended. Streams whose HEADERS were never taken are "refused", all others "closed". */
  eof(detail: string): void {
    if (this.dead) return;
    this.dead = true;
    this.endAll("closed", detail);
  }

  /**
   * What to write now, or null. Control frames first, then streams in turn, at most 64 KiB a stream and
   * `bytesMax` in all (at least 1 KiB; a head that is larger goes out whole). While `hasOutput` there is more.
   */
  take(bytesMax: number = TAKE_BYTES_DEFAULT): Buffer | null {
    this.depth++;
    let out: Buffer | null;
    try {
      out = this.output.take(Math.max(bytesMax, TAKE_BYTES_MIN));
    } finally {
      this.depth--;
    }
    // What was taken is not written yet: that the last stream ended is told with the next call, which the shell is asked for.
    if (out === null) this.settle();
    else if (this.idleDue) this.output.signal();
    return out;
  }

  get hasOutput(): boolean {
    return this.output.pending || this.idleDue;
  }

  /** Opens a client's stream; null while none can be opened: see `canRequest`. */
  request(events: ClientEvents): ClientStream | null {
    if (!this.canRequest) return null;
    const stream = new Http2Stream(this, events, 0, this.peer.initialWindow);
    stream.unsentAt = this.unsent.push(stream) - 1;
    this.active++;
    return stream;
  }

  /** Streams that have not ended in both directions. */
  get activeStreams(): number {
    return this.active;
  }

  /** Whether `request` would open a stream: no GOAWAY, room below the peer's limit, ids left. */
  get canRequest(): boolean {
    return (
      !this.server &&
      !this.dead &&
      !this.peerLeaves &&
      this.leaving === "no" &&
      this.active < this.peer.maxConcurrentStreams &&
      this.nextId + 2 * this.unsent.length <= WINDOW_MAX
    );
  }

  /** Bytes received so far: while it grows, the peer lives. */
  get receivedBytes(): number {
    return this.bytesReceived;
  }

  /** Bytes held in queues: bodies to be sent, control frames, parts of frames and header blocks. */
  get bufferedBytes(): number {
    return this.output.queued + this.control.length + this.reader.heldBytes + this.incoming.blockBytes;
  }

  /** Sends a PING; `onPong` tells of its answer. */
  ping(payload: bigint | number): void {
    if (this.dead) return;
    this.control.ping(BigInt(payload));
    this.output.signal();
  }

  /**
   * Drains: streams that are open finish, then `onError(0)` follows. A server with code 0 first announces it
   * and takes new streams until the peer has answered a PING, so that no request on its way is lost (RFC 9113 §6.8).
   */
  goaway(code: number = NO_ERROR): void {
    if (this.dead || this.leaving !== "no") return;
    if (this.server && code === NO_ERROR) {
      this.leaving = "announced";
      this.control.goaway(WINDOW_MAX, code, "");
      this.control.ping(DRAIN_PING);
    } else {
      this.leave(code);
    }
    this.output.signal();
    this.idleDue = true;
    this.settle();
  }

  private leave(code: number): void {
    this.leaving = "final";
    this.control.goaway(this.lastPeerId, code, "");
    this.output.signal();
    this.idleDue = true;
  }

  // What streams, output and incoming need of their connection.

  /** Our last GOAWAY is out: no stream opens any more. */
  get left(): boolean {
    return this.leaving === "final";
  }

  schedule(stream: Http2Stream): void {
    this.output.schedule(stream);
  }

  signal(): void {
    this.output.signal();
  }

  countQueued(bytes: number): void {
    this.output.queued += bytes;
  }

  onOutput(): void {
    this.options.onOutput();
  }

  onStream(stream: Http2Stream): ServerEvents | null {
    return this.options.onStream?.(stream) ?? null;
  }

  assignId(stream: Http2Stream): number {
    const id = this.nextId;
    this.nextId += 2;
    this.sent(stream);
    this.streams.set(id, stream);
    return id;
  }

  /** Takes a stream out of the list of the unsent: the last one takes its place. */
  private sent(stream: Http2Stream): void {
    const at = stream.unsentAt;
    if (at < 0) return;
    stream.unsentAt = -1;
    const last = this.unsent.pop();
    if (last === undefined || last === stream) return;
    this.unsent[at] = last;
    last.unsentAt = at;
  }

  localEnd(stream: Http2Stream): void {
    if (stream.remoteEnded) {
      this.finish(stream);
      return;
    }
    if (!stream.rejected) return;
    this.rstStream(stream.id, NO_ERROR);
    this.close(stream);
  }

  remoteEnd(stream: Http2Stream): void {
    stream.remoteEnded = true;
    if (stream.localEnded) this.finish(stream);
  }

  private finish(stream: Http2Stream): void {
    this.close(stream);
    this.resets.earn(0.25);
    this.controls.earn(2);
  }

  /** Forgets a stream. Whoever calls it sends what must be sent and tells the owner. */
  close(stream: Http2Stream): void {
    if (stream.closed) return;
    stream.closed = true;
    this.output.forget(stream);
    stream.drop();
    if (stream.id === 0) this.sent(stream);
    else this.streams.delete(stream.id);
    if (--this.active > 0 || !this.idleMatters) return;
    this.idleDue = true;
    this.settle();
  }

  private get idleMatters(): boolean {
    return this.options.onIdle !== undefined || this.peerLeaves || this.leaving === "final";
  }

  /** The owner gives a stream up. */
  abandon(stream: Http2Stream, code: number): void {
    this.close(stream);
    if (stream.id !== 0) this.rstStream(stream.id, code);
  }

  /** A server wants no more of a request that it has answered in full (RFC 9113 §8.1): no harm to the response. */
  stopSending(stream: Http2Stream): void {
    this.close(stream);
    if (stream.wantsWritable) stream.events.onWritable();
  }

  rstStream(id: number, code: number): void {
    if (this.recent.length === 0) this.recent = new Uint32Array(RECENT_RESETS);
    this.recent[this.recentAt++ % RECENT_RESETS] = id;
    this.control.rstStream(id, code);
    this.output.signal();
  }

  /** The peer broke the rules of one stream. */
  streamError(stream: Http2Stream, code: number, detail: string): void {
    this.close(stream);
    this.rstStream(stream.id, code);
    stream.events.onReset("protocol", detail);
    if (this.server) this.countReset(detail);
  }

  /** A stream ended badly, whoever reset it (CVE-2023-44487, CVE-2025-8671). */
  countReset(detail: string): void {
    if (!this.resets.spend(1)) this.fatal(ENHANCE_YOUR_CALM, `too many streams ended badly, the last: ${detail}`);
  }

  /** Counts what costs the peer little and us something; false: it was too much, and the connection is over. */
  calm(cost: number): boolean {
    if (this.controls.spend(cost)) return true;
    this.fatal(ENHANCE_YOUR_CALM, "too many control frames");
    return false;
  }

  /** Whether the stream was never opened. */
  isIdle(id: number): boolean {
    const own = id % 2 === (this.server ? 0 : 1);
    return own ? this.server || id >= this.nextId : !this.server || id > this.lastPeerId;
  }

  /** Whether a client's HEADERS with this id open a stream. */
  isNew(id: number): boolean {
    return id % 2 === 1 && id > this.lastPeerId;
  }

  /** Takes note of a new id; "" or why its stream is refused. */
  admit(id: number): string {
    this.lastPeerId = id;
    return this.active < this.limits.maxConcurrentStreams ? "" : "more streams than announced";
  }

  accept(id: number, events: ServerEvents): Http2Stream {
    const stream = new Http2Stream(this, events, id, this.peer.initialWindow);
    this.streams.set(id, stream);
    this.active++;
    return stream;
  }

  /** DATA or HEADERS of a stream that is not open. */
  lateFrame(id: number, type: "DATA" | "HEADERS"): void {
    if (this.isIdle(id)) {
      this.fatal(PROTOCOL_ERROR, `${type} of an idle stream`);
      return;
    }
    // We reset it, and the peer had not read of it yet.
    if (this.recent.includes(id)) return;
    if (type === "HEADERS") {
      this.fatal(STREAM_CLOSED, "HEADERS of a closed stream");
      return;
    }
    this.rstStream(id, STREAM_CLOSED);
    this.countReset("DATA of a closed stream");
  }

  growWindow(increment: number): void {
    const before = this.output.sendWindow;
    this.output.sendWindow = before + increment;
    if (this.output.sendWindow > WINDOW_MAX) {
      this.fatal(FLOW_CONTROL_ERROR, "connection window too large");
      return;
    }
    if (before <= 0 && this.output.sendWindow > 0) this.output.unpark();
  }

  peerSettings(payload: Buffer, start: number, end: number): void {
    if (!this.calm(5)) return;
    const peer = this.peer;
    const windowBefore = peer.initialWindow;
    const problem = peer.read(payload, start, end, !this.server, !this.peerSettingsSeen);
    if (problem !== "") {
      this.fatal(peer.problemCode, problem);
      return;
    }
    this.peerSettingsSeen = true;
    this.output.encoder.setTableSize(peer.headerTableSize);
    // A larger frame would save nothing and delay the other streams.
    const delta = peer.initialWindow - windowBefore;
    if (delta !== 0 && !this.shiftWindows(delta)) {
      this.fatal(FLOW_CONTROL_ERROR, "window too large");
      return;
    }
    this.control.settingsAck();
    this.output.signal();
  }

  private shiftWindows(delta: number): boolean {
    for (const stream of this.unsent) stream.sendWindow += delta;
    for (const stream of this.streams.values()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > WINDOW_MAX) return false;
      if (delta > 0) this.output.schedule(stream);
    }
    return true;
  }

  pong(payload: bigint): void {
    if (!this.calm(1)) return;
    if (payload === DRAIN_PING && this.leaving === "announced") {
      this.leave(NO_ERROR);
      return;
    }
    this.options.onPong?.(payload <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(payload) : payload);
  }

  peerGoaway(lastStreamId: number, code: number): void {
    if (!this.calm(5)) return;
    this.peerLeaves = true;
    if (!this.server) {
      for (const stream of [...this.unsent]) this.refused(stream);
      for (const stream of this.streams.values()) if (stream.id > lastStreamId) this.refused(stream);
    }
    this.options.onGoaway(lastStreamId, code);
    this.idleDue = true;
  }

  private refused(stream: Http2Stream): void {
    if (stream.closed) return;
    this.close(stream);
    stream.events.onReset("refused", "GOAWAY");
  }

  /** Ends the connection for the peer's fault: GOAWAY, every stream's end, `onError`. */
  fatal(code: number, detail: string): void {
    if (this.dead) return;
    this.dead = true;
    this.control.goaway(this.lastPeerId, code, detail);
    this.output.signal();
    this.endAll("protocol", detail);
    this.options.onError(code, detail);
  }

  private endAll(reason: "closed" | "protocol", detail: string): void {
    this.reader.stop();
    this.incoming.stop();
    const open = this.streams.values();
    const unsent = [...this.unsent];
    for (const stream of open) this.endOne(stream, reason, detail);
    for (const stream of unsent) this.endOne(stream, "refused", detail);
  }

  private endOne(stream: Http2Stream, reason: "closed" | "protocol" | "refused", detail: string): void {
    if (stream.closed) return;
    this.close(stream);
    stream.events.onReset(reason, detail);
  }

  /** Tells of idleness once nothing is under way, so that the shell may close the connection in the call. */
  private settle(): void {
    if (!this.idleDue || this.depth > 0) return;
    this.idleDue = false;
    if (this.active > 0) return;
    if (!this.dead) this.options.onIdle?.();
    if (this.dead || this.active > 0 || !(this.peerLeaves || this.leaving === "final")) return;
    this.dead = true;
    this.options.onError(NO_ERROR, "drained");
  }
}
