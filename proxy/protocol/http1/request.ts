import type { RequestHead } from "../stream.ts";
import { type FieldSection, removeNamed } from "./fields.ts";
import { parseRequestLine, RequestLine } from "./head.ts";
import { firstProblem, type StartLineCheck } from "./input.ts";
import { EVENT, Http1Decoder, type Http1Error, STATE, TRUNCATED_HEAD } from "./message.ts";
import { isAuthority } from "./octets.ts";
import { BARE_CR, type Problem, problem } from "./problem.ts";

/** Empty lines before a request line that are forgiven (RFC 9112 §2.2: at least one). */
const LEADING_CRLF_MAX = 2;

const EMPTY_LINES = problem(400, "more than two empty lines before a request");
const NO_HOST = problem(400, "HTTP/1.1 request without Host");
const BAD_HOST = problem(400, "invalid Host");
const BAD_EXPECT = problem(417, "expectation other than 100-continue");

/** Reads requests: the decoder of a downstream connection. NEED after `eof()` means a clean end. */
export class RequestDecoder extends Http1Decoder<RequestHead> {
  head: RequestHead = { method: "", target: "", authority: "", version: 11, fields: [], contentLength: -1 };
  /** With HEAD: the client waits for 100 (Continue) before it sends the body (RFC 9110 §10.1.1). */
  expectContinue = false;
  readonly #line = new RequestLine();
  readonly #check: StartLineCheck = (line, bytes, base) => parseRequestLine(line, bytes, base, new RequestLine());
  #emptyLines = 0;
  #afterCr = false;

  /** Whether bytes of a request whose HEAD has not been pulled have arrived; empty lines are none. */
  get started(): boolean {
    return this.state === STATE.START && this.buffered > 0;
  }

  protected nextHead(): number {
    if (!this.input.holds && !this.#skipEmptyLines()) return this.state === STATE.FAILED ? EVENT.ERROR : this.#needLine();
    const block = this.input.takeBlock(false, this.#check);
    if (block === "") return this.input.problem === null ? this.need(TRUNCATED_HEAD) : this.fail(this.input.problem);
    const line = this.#line;
    const refused = parseRequestLine(block, this.input.blockBytes, this.input.blockBase, line);
    if (refused !== null) return this.fail(firstProblem(block, refused, refused));
    const section = this.readFields(block, line.next, line.version);
    return section === null ? EVENT.ERROR : this.#accept(line, section);
  }

  /** True: the first byte of a request line is there. */
  #skipEmptyLines(): boolean {
    const input = this.input;
    while (input.more()) {
      const c = input.peek();
      if (this.#afterCr) {
        if (c !== 0x0a) {
          this.fail(BARE_CR);
          return false;
        }
        this.#afterCr = false;
      } else if (c === 0x0d) {
        if (++this.#emptyLines > LEADING_CRLF_MAX) {
          this.fail(EMPTY_LINES);
          return false;
        }
        this.#afterCr = true;
      } else return true;
      input.moveTo(input.at + 1);
    }
    return false;
  }

  /** Between requests the end of the connection is no fault, but for half an empty line. */
  #needLine(): number {
    return this.#afterCr ? this.need(TRUNCATED_HEAD) : this.idle();
  }

  #accept(line: RequestLine, section: FieldSection): number {
    const { version } = line;
    const host = section.host;
    if (host === null && version === 11) return this.fail(NO_HOST);
    // Not even an empty one: a http URI has a host (RFC 9110 §4.2.1), and what an empty one means depends on the server.
    if (host !== null && !isAuthority(host)) return this.fail(BAD_HOST);
    const hasBody = section.chunked || section.contentLength > 0;
    this.expectContinue = false;
    if (section.expect !== null) {
      const continues = section.expect.toLowerCase() === "100-continue";
      if (!continues && version === 11) return this.fail(BAD_EXPECT);
      // RFC 9110 §10.1.1: ignored in 1.0, and without a body nobody waits. Passed on, it would leave the upstream's 100 without a reader.
      if (version === 11 && hasBody) this.expectContinue = true;
      else removeNamed(section.fields, ["expect"]);
    }
    this.upgrade = section.upgrades && version === 11 ? section.upgrade : "";
    this.head = {
      method: line.method,
      target: line.target,
      // RFC 9112 §3.2.2: the target's authority goes before Host, which is checked all the same.
      authority: line.authority === "" ? (host ?? "") : line.authority,
      version,
      fields: section.fields,
      contentLength: section.contentLength,
    };
    this.#emptyLines = 0;
    this.beginBody(section);
    return EVENT.HEAD;
  }

  protected errorOf(refused: Problem, truncated: boolean): Http1Error {
    const code = refused.status === 431 ? "WEFT_HEAD_TOO_LARGE" : "WEFT_BAD_REQUEST";
    return { code, status: refused.status, detail: refused.detail, truncated };
  }
}
