import type { Fields, RequestHead, ResponseHead } from "../stream.ts";
import { ChunkedFraming } from "./chunked.ts";
import { FieldSection, parseFields, removeNamed } from "./fields.ts";
import { EMPTY_BLOCK, firstProblem, Input } from "./input.ts";
import { type Problem, problem } from "./problem.ts";
import { parseTrailers } from "./trailers.ts";

/** What `next()` found. */
export const EVENT = { NEED: 0, HEAD: 1, INTERIM: 2, DATA: 3, TRAILERS: 4, END: 5, SWITCH: 6, ERROR: 7 } as const;

/** Why a decoder gave up. It stays so: the connection carries nothing more. */
export interface Http1Error {
  readonly code: "WEFT_BAD_REQUEST" | "WEFT_HEAD_TOO_LARGE" | "WEFT_UPSTREAM_PROTOCOL";
  /** What to answer: 502 for a response, the others for a request. */
  readonly status: 400 | 417 | 431 | 501 | 502 | 505;
  /** A constant text, fit for a log; never octets of the peer. */
  readonly detail: string;
  /** The only fault is that the peer closed before the message was whole. */
  readonly truncated: boolean;
}

export const STATE = { START: 0, LENGTH: 1, CHUNKED: 2, TRAILERS: 3, UNTIL_CLOSE: 4, CLOSED: 5, FAILED: 6 } as const;
const EMPTY = Buffer.alloc(0);

export const TRUNCATED_HEAD = problem(400, "connection ended inside a head");
const TRUNCATED_BODY = problem(400, "connection ended inside a body");
const TWO_FRAMINGS = problem(400, "both Content-Length and Transfer-Encoding");
const CODING_IN_10 = problem(400, "Transfer-Encoding in an HTTP/1.0 message");

/**
 * Reads the messages of one direction of an HTTP/1.1 connection (RFC 9112). Owns no socket and no timer.
 *
 * Pull style: `push` what arrives, then call `next()` until it says NEED. Each call reads one event and
 * not a byte more, so a caller pauses by not calling. What an event means lies in the members named
 * beside it and is valid until the next call. The events do not depend on how the bytes were split, once
 * adjacent DATA are joined. Nothing throws.
 *
 * A message is HEAD, then DATA…, until `end` is true with HEAD or DATA, or END or TRAILERS comes.
 */
export abstract class Http1Decoder<Head extends RequestHead | ResponseHead> {
  /** With HEAD, INTERIM and SWITCH. */
  abstract head: Head;
  /** With DATA: a slice of what was pushed. */
  data: Buffer = EMPTY;
  /** With TRAILERS: not empty, without fields that trailers must not have. */
  trailers: Fields = [];
  /** With HEAD and DATA: nothing of this message follows, neither DATA nor END. */
  end = false;
  /** With ERROR. */
  error: Http1Error | null = null;
  /** From HEAD on: whether the connection may carry another message after this one. */
  keepAlive = false;
  /** From HEAD on: value of Upgrade if Connection names it (HTTP/1.1 requests and 101), else "". */
  upgrade = "";

  protected readonly input = new Input();
  protected state: number = STATE.START;
  #chunked: ChunkedFraming | null = null;
  #remaining = 0;

  /** Bytes arrived. The decoder keeps the buffer until they were pulled; it must not be changed. */
  push(chunk: Buffer): void {
    this.input.push(chunk);
  }

  /** The peer half-closed: no more bytes come. */
  eof(): void {
    this.input.ended = true;
  }

  /** Bytes pushed and not yet pulled. */
  get buffered(): number {
    return this.input.buffered;
  }

  /** Takes all bytes not yet pulled, for whoever speaks after a switch of protocols. Ends decoding. */
  remainder(): Buffer {
    if (this.state !== STATE.FAILED) this.state = STATE.CLOSED;
    return this.input.takeAll();
  }

  /** Pulls one event: a value of EVENT. After ERROR always ERROR; after SWITCH, or a message without `keepAlive`, always NEED. */
  next(): number {
    switch (this.state) {
      case STATE.START:
        return this.nextHead();
      case STATE.LENGTH:
        return this.#nextOfLength();
      case STATE.CHUNKED:
        return this.#nextOfChunked();
      case STATE.TRAILERS:
        return this.#nextTrailers();
      case STATE.UNTIL_CLOSE:
        return this.#nextUntilClose();
      case STATE.CLOSED:
        return this.idle();
      default:
        return EVENT.ERROR;
    }
  }

  protected abstract nextHead(): number;
  protected abstract errorOf(refused: Problem, truncated: boolean): Http1Error;

  protected fail(refused: Problem, truncated = false): number {
    this.input.forgetBlock();
    this.state = STATE.FAILED;
    this.error = this.errorOf(refused, truncated);
    this.keepAlive = false;
    this.data = EMPTY;
    return EVENT.ERROR;
  }

  /** NEED between messages: lets go of the last one's bytes. */
  protected idle(): number {
    this.data = EMPTY;
    return EVENT.NEED;
  }

  /** NEED, unless the bytes that are needed cannot come. */
  protected need(missing: Problem): number {
    return this.input.ended ? this.fail(missing, true) : EVENT.NEED;
  }

  /** Called with HEAD: how the body that follows, if any, is delimited. */
  protected beginBody(section: FieldSection): void {
    this.end = false;
    if (section.chunked) {
      this.#chunked ??= new ChunkedFraming();
      this.#chunked.reset();
      this.state = STATE.CHUNKED;
    } else if (section.contentLength > 0) {
      this.#remaining = section.contentLength;
      this.state = STATE.LENGTH;
    } else this.finish();
  }

  protected beginBodyUntilClose(): void {
    this.end = false;
    this.keepAlive = false;
    this.state = STATE.UNTIL_CLOSE;
  }

  /** The message is whole. After the last one no byte is read (RFC 9112 §9.6: further requests must not be processed). */
  protected finish(): void {
    this.end = true;
    this.state = this.keepAlive ? STATE.START : STATE.CLOSED;
  }

  #nextOfLength(): number {
    if (!this.input.more()) return this.need(TRUNCATED_BODY);
    this.data = this.input.take(this.#remaining);
    this.#remaining -= this.data.length;
    if (this.#remaining === 0) this.finish();
    return EVENT.DATA;
  }

  #nextOfChunked(): number {
    const framing = this.#chunked!;
    const input = this.input;
    while (input.more()) {
      if (framing.remaining > 0) {
        this.data = input.take(framing.remaining);
        framing.took(this.data.length);
        return EVENT.DATA;
      }
      input.moveTo(framing.scan(input.bytes, input.at, input.bytes.length));
      if (framing.problem !== null) return this.fail(framing.problem);
      if (framing.last) {
        this.state = STATE.TRAILERS;
        return this.#nextTrailers();
      }
    }
    return this.need(TRUNCATED_BODY);
  }

  #nextTrailers(): number {
    const block = this.input.takeBlock(true, null);
    if (block === "") return this.input.problem === null ? this.need(TRUNCATED_BODY) : this.fail(this.input.problem);
    if (block !== EMPTY_BLOCK) {
      const read = parseTrailers(block, this.input.blockBytes, this.input.blockBase);
      this.input.forgetBlock();
      if (!Array.isArray(read)) return this.fail(firstProblem(block, null, read));
      this.trailers = read;
      this.finish();
      if (read.length > 0) return EVENT.TRAILERS;
    }
    this.finish();
    return EVENT.END;
  }

  #nextUntilClose(): number {
    if (this.input.more()) {
      this.data = this.input.take(Number.MAX_SAFE_INTEGER);
      return EVENT.DATA;
    }
    if (!this.input.ended) return EVENT.NEED;
    this.finish();
    return EVENT.END;
  }

  /** Reads head fields; null when refused, and then `fail` was called. */
  protected readFields(block: string, at: number, version: 10 | 11): FieldSection | null {
    const section = new FieldSection();
    const refused = parseFields(block, this.input.blockBytes, this.input.blockBase, at, section) ?? framingProblem(section, version);
    this.input.forgetBlock();
    if (refused !== null) {
      this.fail(firstProblem(block, null, refused));
      return null;
    }
    if (section.named !== null) removeNamed(section.fields, section.named);
    this.keepAlive = !section.close && (version === 11 || section.keepAlive);
    return section;
  }
}

/** RFC 9112 §6.1 and §6.3: what leaves two parsers free to see two ends is refused in either direction. */
function framingProblem(section: FieldSection, version: 10 | 11): Problem | null {
  if (!section.chunked) return null;
  if (section.contentLength >= 0) return TWO_FRAMINGS;
  return version === 10 ? CODING_IN_10 : null;
}
