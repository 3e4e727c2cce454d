import { stripOwnFields } from "#mesh/decide/fields.ts";
import { REPLAY_BYTES_MAX } from "#mesh/decide/retry.ts";
import type { ClientStream, Fields, RequestHead, ResetReason, ResponseHead, ServerEvents, ServerStream } from "../protocol/stream.ts";
import { Deadline, type Deadlines } from "../resilience/deadlines.ts";
import { Attempt, type AttemptFailure } from "./attempt.ts";
import { errorBody, errorFields, type ProxyError, statusOf } from "./errors.ts";

export interface ExchangeTimeouts {
  /** Milliseconds; 0: none. See Timeouts in discovery.proto. */
  readonly requestMs: number;
  readonly backendRequestMs: number;
  readonly idleMs: number;
}

/** What is particular to outbound or inbound. One director serves all requests of a listener. */
export interface Director {
  /** Decides on the request; may rewrite `x.request`. An error is answered to the client. Sets x.timeouts, x.delayMs. */
  admit(x: Exchange): ProxyError | null;
  /** Opens a stream for the attempt to the endpoint it picks. */
  connect(x: Exchange, attempt: Attempt): ClientStream | ProxyError;
  /** Milliseconds to wait before a further attempt; negative: there is none. */
  retryAfter(x: Exchange, failure: AttemptFailure): number;
  /** May rewrite the response's head in place. */
  respond(x: Exchange, head: ResponseHead): void;
  /** An attempt ended; `error` null: a whole response (or its head, for a retried status). */
  attempted(x: Exchange, attempt: Attempt, error: ProxyError | null): void;
  /** True: the client is told by a reset instead of an error response (REFUSED_STREAM between sidecars). */
  refuses(x: Exchange, error: ProxyError): boolean;
  /** Called once at the very end. `x.status` 0: no response was begun. */
  finish(x: Exchange): void;
}

const NO_TIMEOUTS: ExchangeTimeouts = { requestMs: 0, backendRequestMs: 0, idleMs: 0 };

/**
 * One request and its response: takes what the downstream stream tells, makes attempts upstream, and passes
 * bodies both ways under back-pressure. It sees streams only, never sockets, and reads its routing once,
 * at its head. All rules about retrying and timing live here and in its director, none in a layer.
 */
export class Exchange implements ServerEvents {
  readonly downstream: ServerStream;
  readonly director: Director;
  readonly deadlines: Deadlines;
  readonly startedMs: number;
  request!: RequestHead;
  timeouts: ExchangeTimeouts = NO_TIMEOUTS;
  /** Fault: wait so long before the first attempt. */
  delayMs = 0;
  attempts = 0;
  /** Further attempts made because the peer had surely not processed the request; counted by the director, who judges it. */
  refusals = 0;
  /** Status sent to the client; 0: none yet. */
  status = 0;
  error: ProxyError | null = null;
  /** Scratch for the director: what it decided at the head. */
  plan: unknown = null;

  private attempt: Attempt | null = null;
  private requestDone = false;
  private trailers: Fields | null = null;
  /** Body bytes not dropped yet: for a further attempt, or not sent at all yet. Null: too long to be sent again. */
  private replay: Buffer[] | null = [];
  private replayBytes = 0;
  /** Bytes that downstream gave and that wait to be credited until upstream has room. */
  private owedDownstream = 0;
  private responding = false;
  private over = false;
  private readonly nowMs: () => number;
  private requestDeadline: Deadline | null = null;
  private idleDeadline: Deadline | null = null;
  private pause: Deadline | null = null;
  private activityMs = 0;

  constructor(downstream: ServerStream, director: Director, deadlines: Deadlines, nowMs: () => number) {
    this.downstream = downstream;
    this.director = director;
    this.deadlines = deadlines;
    this.nowMs = nowMs;
    this.startedMs = nowMs();
  }

  // What downstream tells.

  onHead(head: RequestHead, end: boolean): void {
    this.request = head;
    this.requestDone = end;
    const refused = this.director.admit(this);
    if (refused !== null) {
      this.fail(refused);
      return;
    }
    const { requestMs, idleMs } = this.timeouts;
    if (requestMs > 0) {
      this.requestDeadline = new Deadline(() => this.timeout("WEFT_REQUEST_TIMEOUT", `no whole response within ${requestMs} ms`));
      this.deadlines.arm(this.requestDeadline, requestMs);
    }
    if (idleMs > 0) {
      this.activityMs = this.startedMs;
      this.idleDeadline = new Deadline(() => this.checkIdle());
      this.deadlines.arm(this.idleDeadline, idleMs);
    }
    if (this.delayMs > 0) this.wait(this.delayMs);
    else this.tryNext();
  }

  onInterim(): void {}

  onData(chunk: Buffer, end: boolean): void {
    if (this.over) {
      // The response is complete: what is left of the request is of no use to anyone.
      this.downstream.credit(chunk.length);
      return;
    }
    if (end) this.requestDone = true;
    this.touch();
    const attempt = this.attempt;
    if (chunk.length > 0) this.keep(chunk, attempt !== null);
    if (attempt === null) {
      // Held back: credited once an attempt has taken it.
      this.owedDownstream += chunk.length;
      return;
    }
    attempt.countBytes(chunk.length);
    const room = attempt.stream.writeData(chunk, end);
    if (room) this.downstream.credit(chunk.length);
    else this.owedDownstream += chunk.length;
  }

  onTrailers(fields: Fields): void {
    if (this.over) return;
    this.requestDone = true;
    this.trailers = stripOwnFields(fields);
    this.attempt?.stream.writeTrailers(this.trailers);
  }

  onReset(_reason: ResetReason, detail: string): void {
    if (this.over) return;
    this.error = { code: "WEFT_BAD_REQUEST", detail: `the client went away: ${detail}`, status: 499 };
    this.end("cancelled");
  }

  onWritable(): void {
    this.attempt?.settle();
  }

  // Attempts.

  /** Remembers body bytes while a further attempt may need them. */
  private keep(chunk: Buffer, sent: boolean): void {
    if (this.replay === null) return;
    this.replay.push(chunk);
    this.replayBytes += chunk.length;
    // What no attempt has taken yet cannot be dropped; flow control bounds it, for it is not credited.
    if (sent && this.replayBytes > REPLAY_BYTES_MAX) this.replay = null;
  }

  private tryNext(): void {
    if (this.over) return;
    this.attempts++;
    const attempt = new Attempt(this, this.nowMs());
    const stream = this.director.connect(this, attempt);
    if ("code" in stream) {
      this.attemptFailed(attempt, { unprocessed: true, staleConnection: false, status: 0, error: stream });
      return;
    }
    attempt.stream = stream;
    this.attempt = attempt;
    if (this.timeouts.backendRequestMs > 0) {
      const ms = this.timeouts.backendRequestMs;
      attempt.deadline = new Deadline(() => this.attemptTimeout(attempt, ms));
      this.deadlines.arm(attempt.deadline, ms);
    }
    this.sendRequest(stream);
  }

  private sendRequest(stream: ClientStream): void {
    const body = this.replay;
    const empty = body === null || body.length === 0;
    const whole = this.requestDone && this.trailers === null;
    stream.writeHead(this.request, whole && empty);
    if (!empty) {
      let room = true;
      for (let i = 0; i < body.length; i++) room = stream.writeData(body[i] as Buffer, whole && i === body.length - 1);
      if (this.replayBytes > REPLAY_BYTES_MAX) this.replay = null;
      if (room) this.creditDownstream();
    }
    if (this.trailers !== null) stream.writeTrailers(this.trailers);
  }

  /** @internal Upstream has room again. */
  creditDownstream(): void {
    const owed = this.owedDownstream;
    if (owed === 0) return;
    this.owedDownstream = 0;
    this.downstream.credit(owed);
  }

  private attemptTimeout(attempt: Attempt, ms: number): void {
    attempt.abandon("timeout");
    const error: ProxyError = { code: "WEFT_BACKEND_TIMEOUT", detail: `attempt ${this.attempts} took longer than ${ms} ms` };
    if (this.responding) this.breakOff(error);
    else this.attemptFailed(attempt, { unprocessed: false, staleConnection: false, status: 0, error });
  }

  /** @internal The attempt ended without a response that is passed on. */
  attemptFailed(attempt: Attempt, failure: AttemptFailure): void {
    if (this.over) return;
    attempt.finish();
    this.disarm(attempt.deadline);
    this.attempt = null;
    this.director.attempted(this, attempt, failure.error);
    const waitMs = this.replay === null ? -1 : this.director.retryAfter(this, failure);
    if (waitMs < 0) {
      this.fail(failure.error);
      return;
    }
    if (waitMs === 0) this.tryNext();
    else this.wait(waitMs);
  }

  private wait(ms: number): void {
    this.pause ??= new Deadline(() => this.tryNext());
    this.deadlines.arm(this.pause, ms);
  }

  /** @internal True: the response is not passed on, a further attempt is made. */
  retriesStatus(attempt: Attempt, head: ResponseHead): boolean {
    if (this.replay === null) return false;
    const error: ProxyError = { code: "WEFT_UPSTREAM_RESET", detail: `status ${head.status}`, status: head.status };
    const waitMs = this.director.retryAfter(this, { unprocessed: false, staleConnection: false, status: head.status, error });
    if (waitMs < 0) return false;
    attempt.abandon("cancelled");
    this.disarm(attempt.deadline);
    this.attempt = null;
    this.director.attempted(this, attempt, error);
    if (waitMs === 0) this.tryNext();
    else this.wait(waitMs);
    return true;
  }

  // The response.

  /** @internal */
  interim(head: ResponseHead): void {
    this.touch();
    head.fields = stripOwnFields(head.fields);
    this.downstream.writeInterim(head);
  }

  /** @internal */
  responseHead(head: ResponseHead, end: boolean): void {
    this.responding = true;
    this.replay = null;
    this.status = head.status;
    this.touch();
    this.director.respond(this, head);
    this.downstream.writeHead(head, end);
    if (end) this.complete();
  }

  /** @internal False: downstream has no room. */
  responseData(chunk: Buffer, end: boolean): boolean {
    this.touch();
    const room = this.downstream.writeData(chunk, end);
    if (end) this.complete();
    return room;
  }

  /** @internal */
  responseTrailers(fields: Fields): void {
    this.downstream.writeTrailers(stripOwnFields(fields));
    this.complete();
  }

  private complete(): void {
    const attempt = this.attempt;
    if (attempt !== null) this.director.attempted(this, attempt, null);
    // A response that came before the end of the request: the rest of the request has nowhere to go.
    if (!this.requestDone) attempt?.abandon("cancelled");
    this.end(null);
  }

  /** @internal The response broke after its head: downstream must not take what it has for the whole. */
  breakOff(error: ProxyError): void {
    if (this.over) return;
    this.error = error;
    this.giveUpAttempt(error);
    this.downstream.reset("closed");
    this.end(null);
  }

  private timeout(code: "WEFT_REQUEST_TIMEOUT" | "WEFT_IDLE_TIMEOUT", detail: string): void {
    const error: ProxyError = { code, detail };
    this.attempt?.abandon("timeout");
    if (this.responding) this.breakOff(error);
    else {
      this.giveUpAttempt(error);
      this.fail(error);
    }
  }

  private giveUpAttempt(error: ProxyError): void {
    const attempt = this.attempt;
    if (attempt === null) return;
    this.attempt = null;
    this.disarm(attempt.deadline);
    this.director.attempted(this, attempt, error);
  }

  private touch(): void {
    if (this.idleDeadline !== null) this.activityMs = this.nowMs();
  }

  /** Bytes do not move the deadline, they only leave a time: the deadline looks when it fires. */
  private checkIdle(): void {
    const leftMs = this.activityMs + this.timeouts.idleMs - this.nowMs();
    if (leftMs > 0 && this.idleDeadline !== null) this.deadlines.arm(this.idleDeadline, leftMs);
    else this.timeout("WEFT_IDLE_TIMEOUT", `no byte moved for ${this.timeouts.idleMs} ms`);
  }

  /** Answers with an error of our own. Nothing was sent to the client yet. */
  private fail(error: ProxyError): void {
    this.error = error;
    if (this.director.refuses(this, error)) {
      this.downstream.reset("refused");
    } else {
      this.status = statusOf(error);
      const body = errorBody(error);
      const head: ResponseHead = { status: this.status, reason: "", version: 11, fields: errorFields(error), contentLength: body.length };
      if (this.request.method === "HEAD") this.downstream.writeHead(head, true);
      else {
        this.downstream.writeHead(head, false);
        this.downstream.writeData(body, true);
      }
    }
    this.end(null);
  }

  private end(resetUpstream: ResetReason | null): void {
    if (this.over) return;
    this.over = true;
    const attempt = this.attempt;
    this.attempt = null;
    if (attempt !== null) {
      if (resetUpstream === null) attempt.finish();
      else {
        attempt.abandon(resetUpstream);
        this.director.attempted(this, attempt, null);
      }
      this.disarm(attempt.deadline);
    }
    this.disarm(this.requestDeadline);
    this.disarm(this.idleDeadline);
    this.disarm(this.pause);
    this.replay = null;
    this.creditDownstream();
    this.director.finish(this);
  }

  private disarm(d: Deadline | null): void {
    if (d !== null) this.deadlines.cancel(d);
  }
}
