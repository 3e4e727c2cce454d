import type { ResponseHead } from "../stream.ts";
import type { FieldSection } from "./fields.ts";
import { parseStatusLine, StatusLine } from "./head.ts";
import { firstProblem, type StartLineCheck } from "./input.ts";
import { EVENT, Http1Decoder, type Http1Error, STATE, TRUNCATED_HEAD } from "./message.ts";
import { type Problem, problem } from "./problem.ts";

/** Most interim responses to one request. */
const INTERIM_MAX = 32;

const NO_RESPONSE = problem(400, "connection ended before the response");
const UNSOLICITED = problem(400, "unsolicited bytes where no response is due");
const INTERIM_FLOOD = problem(400, "more than 32 interim responses");
const INTERIM_BODY = problem(400, "body announced in an interim response");
const UNASKED_SWITCH = problem(400, "101 to a request that asked for no upgrade");

/**
 * Reads responses: the decoder of an upstream connection. Tell it of each request by `expect`; bytes that
 * come while no response is due are an ERROR, because the next request would take them for its own answer.
 */
export class ResponseDecoder extends Http1Decoder<ResponseHead> {
  head: ResponseHead = { status: 0, reason: "", version: 11, fields: [], contentLength: -1 };
  readonly #line = new StatusLine();
  readonly #check: StartLineCheck = (line) => parseStatusLine(line, new StatusLine());
  #due = false;
  #started = false;
  #method = "";
  #mayUpgrade = false;
  #interims = 0;
  #closing = false;

  /**
   * A request with this method was, or is about to be, written: a response is due. `mayUpgrade`: it asked
   * for another protocol, so 101 is an answer. Call it once per request, after the previous response ended.
   */
  expect(method: string, mayUpgrade = false): void {
    if (this.state !== STATE.FAILED && (this.#due || this.state !== STATE.START || this.buffered > 0)) this.fail(UNSOLICITED);
    this.#due = true;
    this.#started = false;
    this.#method = method;
    this.#mayUpgrade = mayUpgrade;
    this.#interims = 0;
    this.#closing = false;
  }

  /** Whether a byte has come since `expect`: if not, the server may never have seen the request. */
  get started(): boolean {
    return this.#started || this.buffered > 0;
  }

  protected nextHead(): number {
    if (!this.#due) return this.buffered > 0 ? this.fail(UNSOLICITED) : this.idle();
    const block = this.input.takeBlock(false, this.#check);
    if (block === "") {
      if (this.input.problem !== null) return this.fail(this.input.problem);
      return this.need(this.buffered > 0 ? TRUNCATED_HEAD : NO_RESPONSE);
    }
    this.#started = true;
    const line = this.#line;
    const refused = parseStatusLine(block, line);
    if (refused !== null) return this.fail(firstProblem(block, refused, refused));
    const section = this.readFields(block, line.next, line.version);
    return section === null ? EVENT.ERROR : this.#accept(line, section);
  }

  #accept(line: StatusLine, section: FieldSection): number {
    const { status, version } = line;
    const fields = section.fields;
    if (section.host !== null) fields.push("host", section.host); // of no meaning here, so like any other
    this.upgrade = "";
    this.head = { status, reason: line.reason, version, fields, contentLength: section.contentLength };
    if (status < 200) return this.#acceptInterim(section);
    this.#due = false;
    if (this.#closing) this.keepAlive = false;
    if (this.#method === "HEAD" || status === 204 || status === 304) {
      if (status === 204) this.#judge204(section);
      this.finish();
    } else if (section.chunked || section.contentLength >= 0) this.beginBody(section);
    else this.beginBodyUntilClose();
    return EVENT.HEAD;
  }

  #acceptInterim(section: FieldSection): number {
    // RFC 9110 §8.6, RFC 9112 §6.1 forbid both. "Content-Length: 0" is harmless and is seen.
    if (section.chunked || section.contentLength > 0) return this.fail(INTERIM_BODY);
    this.head.contentLength = -1;
    // RFC 9112 §9.6: the connection ends after the final response. Node's parser refuses to read that one.
    if (!this.keepAlive) this.#closing = true;
    if (this.head.status !== 101) return ++this.#interims > INTERIM_MAX ? this.fail(INTERIM_FLOOD) : EVENT.INTERIM;
    if (!this.#mayUpgrade || !section.upgrades || section.upgrade === "") return this.fail(UNASKED_SWITCH);
    this.upgrade = section.upgrade;
    this.keepAlive = false;
    this.end = true;
    this.#due = false;
    this.state = STATE.CLOSED;
    return EVENT.SWITCH;
  }

  /** RFC 9110 §8.6: 204 has no body and announces none. A server that announces one may also send it. */
  #judge204(section: FieldSection): void {
    if (section.chunked || section.contentLength > 0) this.keepAlive = false;
    this.head.contentLength = -1;
  }

  protected errorOf(refused: Problem, truncated: boolean): Http1Error {
    return { code: "WEFT_UPSTREAM_PROTOCOL", status: 502, detail: refused.detail, truncated };
  }
}
