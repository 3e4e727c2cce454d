import type { Fields } from "../stream.ts";
import { TOKEN, VALUE } from "./octets.ts";
import { BARE_CR, BARE_LF, CONTROL_OCTET, type Problem, problem, TOO_MANY_FIELDS } from "./problem.ts";

/** Most fields in a head or trailer section. Envoy has 100, which applications do meet; 200 they do not. */
export const FIELDS_MAX = 200;

/** Fields that carry framing or belong to one connection. `LOOKALIKE`: with "_" for "-", which some servers fold. */
export const SPECIAL = {
  NONE: 0,
  TE: 1,
  HOST: 2,
  EXPECT: 3,
  UPGRADE: 4,
  CONNECTION: 5,
  KEEP_ALIVE: 6,
  CONTENT_LENGTH: 7,
  PROXY_CONNECTION: 8,
  TRANSFER_ENCODING: 9,
  LOOKALIKE: 10,
} as const;

const OBS_FOLD = problem(400, "field line begins with white space (obs-fold)");
const EMPTY_NAME = problem(400, "empty field name");
const SPACE_IN_NAME = problem(400, "white space in or after a field name");
const BAD_NAME = problem(400, "field name is not a token");
const NO_COLON = problem(400, "field line without a colon");
const LOOKALIKE = problem(400, "field name that some servers read as a framing field");
const HOST_TWICE = problem(400, "more than one Host");
const LENGTH_TWICE = problem(400, "more than one Content-Length");
const BAD_LENGTH = problem(400, "Content-Length is not one decimal number below 2^53");
const CODING_TWICE = problem(400, "more than one Transfer-Encoding");
const BAD_CODING = problem(400, "Transfer-Encoding does not end in a single chunked");
const UNKNOWN_CODING = problem(501, "transfer coding other than chunked");
const TAB_IN_FRAMING = problem(400, "HTAB in a Content-Length or Transfer-Encoding line");
const EXPECT_TWICE = problem(400, "more than one Expect");

/** A field section as read: what is passed on, and what the codec took out. */
export class FieldSection {
  readonly fields: Fields = [];
  /** Value of Host, null without one. */
  host: string | null = null;
  /** -1: none. */
  contentLength = -1;
  chunked = false;
  /** Connection options. */
  close = false;
  keepAlive = false;
  upgrades = false;
  /** Value of Upgrade, whether or not Connection names it. */
  upgrade = "";
  /** Value of Expect, null without one. */
  expect: string | null = null;
  /** Further names in Connection, lower-case; their fields are to be removed. */
  named: string[] | null = null;
}

/**
 * Reads the field lines of `text` from `at` on into `out`. `text` ends with the first CRLF CRLF in it; it is
 * bytes[base, …) as latin1, and both are given because scanning bytes costs a quarter of scanning a string.
 * Framing and connection fields go to members of `out`, all others to `out.fields`. Null: well-formed.
 */
export function parseFields(text: string, bytes: Uint8Array, base: number, at: number, out: FieldSection): Problem | null {
  const fields = out.fields;
  let i = base + at;
  for (let count = 0; ; count++) {
    const start = i;
    while (TOKEN[bytes[i]!] === 1) i++;
    if (bytes[i] !== 0x3a || i === start) return endOrNameProblem(text, start - base, i - base);
    if (count === FIELDS_MAX) return TOO_MANY_FIELDS;
    const colon = i++;
    while (bytes[i] === 0x20 || bytes[i] === 0x09) i++;
    const valueStart = i;
    while (VALUE[bytes[i]!] === 1) i++;
    if (bytes[i] !== 0x0d || bytes[i + 1] !== 0x0a) return octetProblem(text, i - base);
    let valueEnd = i;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === 0x20 || bytes[valueEnd - 1] === 0x09)) valueEnd--;
    i += 2;
    const name = text.slice(start - base, colon - base);
    const value = text.slice(valueStart - base, valueEnd - base);
    const special = specialField(name);
    if (special === SPECIAL.NONE) fields.push(name, value);
    else {
      // OWS may be HTAB (RFC 9110 §5.6.3), but llhttp for one does not take "chunked<HTAB>" for chunked.
      if (isFraming(special) && text.slice(colon - base, i - base).includes("\t")) return TAB_IN_FRAMING;
      const refused = takeSpecial(special, name, value, out);
      if (refused !== null) return refused;
    }
  }
}

function endOrNameProblem(text: string, start: number, at: number): Problem | null {
  const c = text.charCodeAt(at);
  if (c === 0x0d && text.charCodeAt(at + 1) === 0x0a) return at === start ? null : NO_COLON;
  if (c === 0x3a) return EMPTY_NAME;
  if (c === 0x20 || c === 0x09) return at === start ? OBS_FOLD : SPACE_IN_NAME;
  return VALUE[c] === 1 ? BAD_NAME : octetProblem(text, at);
}

/** Names what is wrong with the octet at `at`, or before it, which cannot stand in a field section. */
export function octetProblem(text: string, at: number): Problem {
  if (text.charCodeAt(at) === 0x0d || (at > 0 && text.charCodeAt(at - 1) === 0x0d)) return BARE_CR;
  return text.charCodeAt(at) === 0x0a ? BARE_LF : CONTROL_OCTET;
}

/** Which special field `name` is, letters in any case. Length and first letter exclude nearly all others. */
export function specialField(name: string): number {
  switch (name.length) {
    case 2:
      return matches(name, "te", SPECIAL.TE);
    case 4:
      return matches(name, "host", SPECIAL.HOST);
    case 6:
      return matches(name, "expect", SPECIAL.EXPECT);
    case 7:
      return matches(name, "upgrade", SPECIAL.UPGRADE);
    case 10:
      return matches(name, "connection", SPECIAL.CONNECTION) || matches(name, "keep-alive", SPECIAL.KEEP_ALIVE);
    case 14:
      return matches(name, "content-length", SPECIAL.CONTENT_LENGTH);
    case 16:
      return matches(name, "proxy-connection", SPECIAL.PROXY_CONNECTION);
    case 17:
      return matches(name, "transfer-encoding", SPECIAL.TRANSFER_ENCODING);
    default:
      return SPECIAL.NONE;
  }
}

function matches(name: string, special: string, found: number): number {
  for (let i = 0; i < special.length; i++) {
    const want = special.charCodeAt(i);
    const c = name.charCodeAt(i);
    // Setting bit 5 makes lower case of letters; of tchars only "-" itself becomes "-".
    if ((c | 0x20) === want) continue;
    if (c !== 0x5f || want !== 0x2d) return SPECIAL.NONE;
    found = SPECIAL.LOOKALIKE;
  }
  return found;
}

function isFraming(special: number): boolean {
  return special === SPECIAL.CONTENT_LENGTH || special === SPECIAL.TRANSFER_ENCODING;
}

function takeSpecial(special: number, name: string, value: string, out: FieldSection): Problem | null {
  switch (special) {
    case SPECIAL.HOST:
      if (out.host !== null) return HOST_TWICE;
      out.host = value;
      return null;
    case SPECIAL.CONNECTION:
      takeConnection(value, out);
      return null;
    case SPECIAL.CONTENT_LENGTH:
      if (out.contentLength >= 0) return LENGTH_TWICE; // RFC 9112 §6.3 lets us merge equal ones; nobody needs it
      out.contentLength = parseLength(value);
      return out.contentLength < 0 ? BAD_LENGTH : null;
    case SPECIAL.TRANSFER_ENCODING:
      if (out.chunked) return CODING_TWICE;
      out.chunked = true;
      return codingProblem(value);
    case SPECIAL.EXPECT:
      if (out.expect !== null) return EXPECT_TWICE;
      out.expect = value;
      out.fields.push(name, value);
      return null;
    case SPECIAL.UPGRADE:
      out.upgrade = out.upgrade === "" ? value : `${out.upgrade}, ${value}`;
      return null;
    case SPECIAL.TE:
      // Weights and codings are between two neighbours (RFC 9110 §10.1.4); that trailers are welcome is for the origin.
      if (listHas(value, "trailers")) out.fields.push(name, "trailers");
      return null;
    case SPECIAL.LOOKALIKE:
      return LOOKALIKE;
    default:
      return null; // keep-alive, proxy-connection: of the connection, and say nothing that we act on
  }
}

/** 1*DIGIT up to 2^53−1; -1 for everything else ("+5", "0x5", "5,5", ""). */
function parseLength(value: string): number {
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return value === "" ? -1 : length;
}

/** RFC 9112 §6.1, §6.3: 501 for codings that we lack before a final chunked; 400 where the end of the body is in doubt. */
function codingProblem(value: string): Problem | null {
  if (value === "chunked") return null;
  const codings = value.toLowerCase().split(",");
  const last = trimOws(codings.pop() ?? "");
  if (last !== "chunked") return BAD_CODING;
  if (codings.length === 0) return null;
  return codings.some((coding) => trimOws(coding) === "" || coding.includes("chunked")) ? BAD_CODING : UNKNOWN_CODING;
}

function takeConnection(value: string, out: FieldSection): void {
  if (value === "keep-alive") out.keepAlive = true;
  else if (value === "close") out.close = true;
  else {
    for (const element of value.toLowerCase().split(",")) {
      const option = trimOws(element);
      if (option === "close") out.close = true;
      else if (option === "keep-alive") out.keepAlive = true;
      else if (option === "upgrade") out.upgrades = true;
      else if (option !== "" && option !== "te" && !isProtected(option)) (out.named ??= []).push(option);
    }
  }
}

/** Without SP and HTAB around. String.trim would take NBSP (0xa0) as well, and make "chunked" of what no other parser reads so. */
function trimOws(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && (text.charCodeAt(start) === 0x20 || text.charCodeAt(start) === 0x09)) start++;
  while (end > start && (text.charCodeAt(end - 1) === 0x20 || text.charCodeAt(end - 1) === 0x09)) end--;
  return text.slice(start, end);
}

function listHas(value: string, token: string): boolean {
  return value
    .toLowerCase()
    .split(",")
    .some((element) => trimOws(element) === token);
}

/**
 * Fields that Connection cannot remove. RFC 9110 §7.6.1 forbids senders to name fields meant for all
 * recipients, and attackers do just that to strip what a trusted hop before us added (CVE-2022-31813:
 * x-forwarded-for): the name is then ignored and the field kept. Any other named field is gone before a
 * policy sees it, so policy and upstream see the same message. `te` is judged by its value.
 */
const PROTECTED: ReadonlySet<string> = new Set([
  ..."host te trailer expect authorization proxy-authorization proxy-authenticate www-authenticate cookie set-cookie".split(" "),
  ..."forwarded via x-real-ip x-request-id x-client-ip true-client-ip traceparent tracestate baggage b3 origin referer".split(" "),
  ..."cache-control pragma age date expires etag last-modified vary location retry-after range accept-ranges transfer-encoding".split(" "),
  ..."idempotency-key max-forwards user-agent accept accept-encoding allow server strict-transport-security".split(" "),
]);
const PROTECTED_PREFIXES = ["weft-", "x-weft-", "x-forwarded-", "x-b3-", "x-envoy-", "content-", "if-", "sec-", "access-control-", "grpc-"];

function isProtected(name: string): boolean {
  return PROTECTED.has(name) || PROTECTED_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** Takes out of `fields`, in place, every field whose name is in `names` (lower-case). */
export function removeNamed(fields: Fields, names: readonly string[]): void {
  const gone = new Set(names);
  let kept = 0;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!;
    if (gone.has(name.toLowerCase())) continue;
    fields[kept++] = name;
    fields[kept++] = fields[i + 1]!;
  }
  fields.length = kept;
}
