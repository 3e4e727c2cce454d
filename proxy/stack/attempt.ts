import type { ClientEvents, ClientStream, Fields, ResetReason, ResponseHead } from "../protocol/stream.ts";
import type { Deadline } from "../resilience/deadlines.ts";
import type { ProxyError } from "./errors.ts";
import type { Exchange } from "./exchange.ts";
import type { Upstream } from "./upstream.ts";

/** A body over this marks its carrier as busy with bulk: another carrier takes the small requests. */
const BULK_BYTES = 1024 * 1024;

/** How an attempt ended, as the director must know it to decide on a further one. */
export interface AttemptFailure {
  /** The peer promises not to have processed it, or it was never sent. */
  readonly unprocessed: boolean;
  /** The connection had served before and broke before a byte of answer. */
  readonly staleConnection: boolean;
  /** Status of the response, 0 when there was none. */
  readonly status: number;
  readonly error: ProxyError;
}

/** One try at one endpoint. */
export class Attempt implements ClientEvents {
  readonly exchange: Exchange;
  readonly startedMs: number;
  stream!: ClientStream;
  upstream: Upstream | null = null;
  deadline: Deadline | null = null;
  /** Scratch for the director: the endpoint it picked. */
  endpoint: unknown = null;
  ended = false;
  /** An interim response came: the peer has seen the request. */
  private answered = false;
  private bytes = 0;
  private bulk = false;
  private owedUpstream = 0;

  constructor(exchange: Exchange, startedMs: number) {
    this.exchange = exchange;
    this.startedMs = startedMs;
  }

  onInterim(head: ResponseHead): void {
    if (this.ended) return;
    this.answered = true;
    this.exchange.interim(head);
  }

  onHead(head: ResponseHead, end: boolean): void {
    if (this.ended) return;
    if (this.exchange.retriesStatus(this, head)) return;
    this.exchange.responseHead(head, end);
  }

  onData(chunk: Buffer, end: boolean): void {
    if (this.ended) return;
    this.countBytes(chunk.length);
    if (this.exchange.responseData(chunk, end)) this.stream.credit(chunk.length);
    else this.owedUpstream += chunk.length;
  }

  onTrailers(fields: Fields): void {
    if (!this.ended) this.exchange.responseTrailers(fields);
  }

  onReset(reason: ResetReason, detail: string): void {
    if (this.ended) return;
    this.finish();
    const x = this.exchange;
    const failure = this.upstream?.failure ?? null;
    const error: ProxyError = failure ?? {
      code: reason === "protocol" ? "WEFT_UPSTREAM_PROTOCOL" : "WEFT_UPSTREAM_RESET",
      detail: `${reason}: ${detail}`,
    };
    if (x.status !== 0) {
      x.breakOff(error);
      return;
    }
    const unprocessed = reason === "refused" || failure !== null || (this.upstream !== null && !this.upstream.established);
    x.attemptFailed(this, {
      unprocessed,
      staleConnection: reason === "closed" && this.upstream?.reused === true && !this.answered,
      status: 0,
      error,
    });
  }

  /** Upstream has room for more of the request. */
  onWritable(): void {
    if (!this.ended) this.exchange.creditDownstream();
  }

  /** Downstream has room for more of the response. */
  settle(): void {
    const owed = this.owedUpstream;
    this.owedUpstream = 0;
    if (owed > 0) this.stream.credit(owed);
  }

  countBytes(n: number): void {
    if (this.bulk) return;
    this.bytes += n;
    if (this.bytes > BULK_BYTES && this.upstream !== null) {
      this.bulk = true;
      this.upstream.bulk++;
    }
  }

  /** Hears nothing any more. */
  finish(): void {
    this.ended = true;
    if (this.bulk && this.upstream !== null) this.upstream.bulk--;
    this.bulk = false;
  }

  /** Gives up what is in progress upstream. */
  abandon(reason: ResetReason): void {
    this.finish();
    this.stream.reset(reason);
  }
}
