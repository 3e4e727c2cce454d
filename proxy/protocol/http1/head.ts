import { isAuthority, TARGET, TOKEN, VALUE } from "./octets.ts";
import { type Problem, problem } from "./problem.ts";

const BAD_METHOD = problem(400, "method is not a token");
const BAD_TARGET = problem(400, "request target has an octet that a target cannot have");
const FRAGMENT = problem(400, "request target with a fragment");
const BAD_FORM = problem(400, "request target is neither origin-form nor absolute-form");
const BAD_ASTERISK = problem(400, 'request target "*" with a method other than OPTIONS');
const BAD_SCHEME = problem(400, "request target with a scheme other than http or https");
const BAD_TARGET_AUTHORITY = problem(400, "request target with an invalid authority");
const CONNECT = problem(501, "CONNECT is not offered");
const BAD_REQUEST_LINE = problem(400, "request line is not method SP target SP version");
const BAD_VERSION = problem(505, "HTTP version other than 1.0 and 1.1");
const BAD_STATUS_LINE = problem(400, "status line is not version SP three digits SP reason");

/** A request line as read. One per decoder, filled anew for each message. */
export class RequestLine {
  method = "";
  /** Origin-form or "*". */
  target = "";
  /** Authority of an absolute-form target; "" for the other forms. */
  authority = "";
  version: 10 | 11 = 11;
  /** Index of the first field line. */
  next = 0;
}

/** A status line as read. One per decoder, filled anew for each message. */
export class StatusLine {
  status = 0;
  reason = "";
  version: 10 | 11 = 11;
  next = 0;
}

/**
 * Reads the request line (RFC 9112 §3) at the start of `text`, which has at least one CRLF and is
 * bytes[base, …) as latin1. Exactly one
 * SP stands between the parts: what else might be taken for a separator is an octet no part can have.
 * Methods are any token (RFC 9110 §9.1, §16.1: an open registry, and case-sensitive), so this passes
 * methods that Node's parser, which has a closed list, does not know.
 */
export function parseRequestLine(text: string, bytes: Uint8Array, base: number, out: RequestLine): Problem | null {
  let i = base;
  while (TOKEN[bytes[i]!] === 1) i++;
  if (i === base || bytes[i] !== 0x20) return BAD_METHOD;
  const method = i - base === 3 && text.startsWith("GET") ? "GET" : text.slice(0, i - base);
  const start = ++i - base;
  while (TARGET[bytes[i]!] === 1) i++;
  const at = i - base;
  const stop = bytes[i];
  if (stop === 0x23) return FRAGMENT;
  if (stop === 0x0d && at > start) return BAD_REQUEST_LINE; // HTTP/0.9
  if (stop !== 0x20) return BAD_TARGET;
  if (at === start) return BAD_REQUEST_LINE;
  if (text.startsWith("HTTP/1.1\r\n", at + 1)) out.version = 11;
  else if (text.startsWith("HTTP/1.0\r\n", at + 1)) out.version = 10;
  else return isVersion(text, at + 1) && text.startsWith("\r\n", at + 9) ? BAD_VERSION : BAD_REQUEST_LINE;
  out.method = method;
  out.target = text.slice(start, at);
  out.authority = "";
  out.next = at + 11;
  if (method === "CONNECT") return CONNECT;
  return text.charCodeAt(start) === 0x2f ? null : resolveTarget(out);
}

function isVersion(text: string, at: number): boolean {
  if (!text.startsWith("HTTP/", at) || text.charCodeAt(at + 6) !== 0x2e) return false;
  return isDigit(text.charCodeAt(at + 5)) && isDigit(text.charCodeAt(at + 7));
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;

/** Makes origin-form of absolute-form (RFC 9112 §3.2.2) and lets "*" pass where it may stand (§3.2.4). */
function resolveTarget(line: RequestLine): Problem | null {
  const target = line.target;
  if (target === "*") return line.method === "OPTIONS" ? null : BAD_ASTERISK;
  const colon = target.indexOf("://");
  if (colon < 0) return BAD_FORM;
  const scheme = target.slice(0, colon).toLowerCase();
  if (scheme !== "http" && scheme !== "https") return BAD_SCHEME;
  const start = colon + 3;
  let end = start;
  while (end < target.length && target.charCodeAt(end) !== 0x2f && target.charCodeAt(end) !== 0x3f) end++;
  line.authority = target.slice(start, end);
  if (!isAuthority(line.authority)) return BAD_TARGET_AUTHORITY;
  const rest = target.slice(end);
  if (rest === "") line.target = line.method === "OPTIONS" ? "*" : "/";
  else line.target = rest.startsWith("/") ? rest : `/${rest}`;
  return null;
}

/**
 * Reads the status line (RFC 9112 §4) at the start of `text`, which has at least one CRLF. The reason
 * may be empty, and the SP before it absent: servers write both.
 */
export function parseStatusLine(text: string, out: StatusLine): Problem | null {
  if (text.startsWith("HTTP/1.1 ")) out.version = 11;
  else if (text.startsWith("HTTP/1.0 ")) out.version = 10;
  else return isVersion(text, 0) && text.charCodeAt(8) === 0x20 ? BAD_VERSION : BAD_STATUS_LINE;
  let status = 0;
  for (let at = 9; at < 12; at++) {
    const c = text.charCodeAt(at);
    if (!isDigit(c)) return BAD_STATUS_LINE;
    status = status * 10 + c - 0x30;
  }
  if (status < 100) return BAD_STATUS_LINE;
  let at = 12;
  if (text.charCodeAt(12) === 0x20) {
    at = 13;
    while (VALUE[text.charCodeAt(at)] === 1) at++;
  }
  if (text.charCodeAt(at) !== 0x0d || text.charCodeAt(at + 1) !== 0x0a) return BAD_STATUS_LINE;
  out.status = status;
  out.reason = at > 13 ? text.slice(13, at) : "";
  out.next = at + 2;
  return null;
}
