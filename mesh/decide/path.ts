import { escapedOctet } from "./octets.ts";
import { matchKey } from "./path-key.ts";

/**
 * A request target, normalised. Matching, authorization and the upstream all get these values, so none
 * of them can read another path than the others.
 */
export interface NormalPath {
  readonly path: string;
  /** What follows the first "?", exactly as received; "" also when there is no "?". */
  readonly query: string;
  /** What to forward: path and query. The very string that was given when there was nothing to do. */
  readonly target: string;
}

/** The request is answered 400; `refused` says why, for the log. */
export interface RefusedPath {
  readonly refused: string;
}

/** Needs the slow path: an escape, or an octet above ASCII. */
const SPECIAL = 1;
/** Never allowed in a target. */
const FORBIDDEN = 2;

const SLASH = 0x2f;
const DOT = 0x2e;
const PERCENT = 0x25;
const QUESTION = 0x3f;

/** What the fast path makes of each octet; 0: ordinary. */
const classes = new Uint8Array(256);
for (let code = 0; code < 256; code++) {
  if (code <= 0x20 || code === 0x7f || code === 0x23) classes[code] = FORBIDDEN;
  else if (code === PERCENT || code === 0x5c || code > 0x7f) classes[code] = SPECIAL;
}

/**
 * Normalises the target of a request: origin-form, or "*".
 *
 * RFC 3986 §6.2.2: escapes of unreserved characters are decoded, all others get upper-case digits, dot
 * segments (spelt with escapes or not) are removed; octets above ASCII become escapes. Beyond the RFC,
 * leading slashes are merged, because URL libraries read "//x/y" as the authority x and the path /y.
 * Inner empty segments are kept, applications put whole URLs into paths; matching ignores them
 * (`matchKey`). Case is significant. So is what a file system would ignore, as trailing dots of a name.
 *
 * Refused is what servers read differently, whatever we would make of it: %2F, %5C and "\", controls
 * plain or escaped (%00), invalid escapes (%u002f), octets that are not UTF-8 (overlong forms), dot
 * segments with parameters ("/..;x/"), ".." after an empty segment ("/a//../b" is /a/b or /b), escaped
 * escapes ("%252e"), full-width slashes and dot segments, "#". A query is forwarded as it is, without
 * controls, blanks and "#".
 *
 * Normalising the result again changes nothing.
 */
export function normalizePath(target: string): NormalPath | RefusedPath {
  if (target.charCodeAt(0) !== SLASH) {
    return target === "*" ? { path: "*", query: "", target } : { refused: "the target is neither a path nor *" };
  }
  const length = target.length;
  let plain = true;
  let end = length;
  let previous = 0;
  for (let i = 0; i < length; i++) {
    const code = target.charCodeAt(i);
    const kind = code > 0xff ? FORBIDDEN : classes[code];
    if (kind === FORBIDDEN) return forbidden(code);
    if (code === QUESTION) {
      end = i;
      break;
    }
    if (kind === SPECIAL) plain = false;
    else if (previous === SLASH && ((code === SLASH && i === 1) || (code === DOT && mayBeDotSegment(target, i)))) plain = false;
    previous = code;
  }
  for (let i = end + 1; i < length; i++) {
    const code = target.charCodeAt(i);
    if (code > 0xff || classes[code] === FORBIDDEN) return forbidden(code);
  }
  if (plain) {
    return end === length ? { path: target, query: "", target } : { path: target.slice(0, end), query: target.slice(end + 1), target };
  }
  return normalizeSegments(target, end);
}

function forbidden(code: number): RefusedPath {
  if (code === 0x23) return { refused: "the target has a fragment (#)" };
  return { refused: code > 0xff ? "the target is not a string of octets" : "the target has a control character or a blank" };
}

/** Could the segment that starts with the dot at `at` be read as a dot segment? Errs on the side of yes. */
function mayBeDotSegment(target: string, at: number): boolean {
  let next = target.charCodeAt(at + 1);
  if (next === DOT) next = target.charCodeAt(at + 2);
  // End of the target, or one of / ; % ?
  return Number.isNaN(next) || next === SLASH || next === 0x3b || next === PERCENT || next === QUESTION;
}

function normalizeSegments(target: string, end: number): NormalPath | RefusedPath {
  const segments = target.slice(1, end).split("/");
  const last = segments.length - 1;
  const out: string[] = [];
  for (let i = 0; i <= last; i++) {
    const read = normalizeSegment(segments[i] as string);
    if (typeof read !== "string") return read;
    if (read === "." || read === "..") {
      if (read === ".." && out.length > 0) {
        const removed = out.pop() as string;
        // Servers that merge slashes, or cut parameters off, before they remove dot segments go one higher.
        if (removed === "" || removed.startsWith(";") || removed.startsWith("%3B")) return { refused: "a .. segment follows an empty one" };
      }
      if (i === last) out.push("");
    } else if (read !== "" || out.length > 0 || i === last) {
      out.push(read);
    }
  }
  const path = `/${out.join("/")}`;
  const query = target.slice(end + 1);
  const rest = target.slice(end);
  if (target.length - rest.length === path.length && target.startsWith(path)) return { path, query, target };
  return { path, query, target: path + rest };
}

/** Dots with parameters, or with blanks after them, which Windows drops. */
const LOOKS_LIKE_DOTS = /^\.{1,2}(?:(?:%20)*(?:;|%3B)|(?:%20)+$)/;

function normalizeSegment(segment: string): string | RefusedPath {
  let out = "";
  const utf8 = new Utf8Reader();
  for (let i = 0; i < segment.length; i++) {
    let octet = segment.charCodeAt(i);
    let escaped = false;
    if (octet === PERCENT) {
      octet = escapedOctet(segment, i);
      if (octet < 0) return { refused: "the path has an invalid escape" };
      escaped = true;
      i += 2;
    }
    if (!utf8.accepts(octet)) return { refused: "the path is not UTF-8" };
    if (octet === SLASH) return { refused: "the path has an escaped slash (%2F)" };
    if (octet === 0x5c) return { refused: "the path has a backslash" };
    if (octet < 0x20 || octet === 0x7f) return { refused: "the path has an escaped control character" };
    out += octet > 0x7f || (escaped && !isUnreserved(octet)) ? escapeOf(octet) : String.fromCharCode(octet);
  }
  if (!utf8.complete) return { refused: "the path is not UTF-8" };
  if (hasEscapedEscape(out)) return { refused: "the path has an escaped escape (%25…)" };
  if (LOOKS_LIKE_DOTS.test(out)) return { refused: "a dot segment has parameters or blanks" };
  if (out.includes("%EF%BC%") || out.includes("%EF%BD%")) {
    // Full-width forms: some servers map them to ASCII when they convert to a code page.
    const folded = matchKey(`/${out}`);
    if (out.includes("%EF%BC%8F") || out.includes("%EF%BC%BC") || folded === "/." || folded === "/..") {
      return { refused: "the path has a full-width slash or dot segment" };
    }
  }
  return out;
}

/**
 * An escaped "%" before two digits is one more decoding away from another path. Refused when what that
 * would yield means something to matching: unreserved characters (no encoder escapes them), separators,
 * controls, a further "%". An escaped "%20" (…%2520…) passes.
 */
function hasEscapedEscape(segment: string): boolean {
  for (let at = segment.indexOf("%25"); at >= 0; at = segment.indexOf("%25", at + 3)) {
    const octet = escapedOctet(segment, at + 2);
    if (octet < 0) continue;
    if (octet < 0x20 || octet === 0x7f || isUnreserved(octet) || "/\\;%".includes(String.fromCharCode(octet))) return true;
    // Overlong forms of ASCII, once more escaped.
    if (octet === 0xc0 || octet === 0xc1) return true;
  }
  return false;
}

function isUnreserved(octet: number): boolean {
  const lower = octet | 0x20;
  if (octet < 0x80 && lower >= 0x61 && lower <= 0x7a) return true;
  return (octet >= 0x30 && octet <= 0x39) || octet === 0x2d || octet === DOT || octet === 0x5f || octet === 0x7e;
}

const HEX = "0123456789ABCDEF";

function escapeOf(octet: number): string {
  return `%${HEX[octet >> 4]}${HEX[octet & 15]}`;
}

/** Reads UTF-8 octet by octet (RFC 3629 §4): no overlong forms, no surrogates, nothing above U+10FFFF. */
class Utf8Reader {
  #expected = 0;
  #low = 0x80;
  #high = 0xbf;

  get complete(): boolean {
    return this.#expected === 0;
  }

  accepts(octet: number): boolean {
    if (this.#expected > 0) {
      if (octet < this.#low || octet > this.#high) return false;
      this.#expected--;
      this.#low = 0x80;
      this.#high = 0xbf;
      return true;
    }
    if (octet < 0x80) return true;
    if (octet < 0xc2 || octet > 0xf4) return false;
    this.#expected = octet < 0xe0 ? 1 : octet < 0xf0 ? 2 : 3;
    if (octet === 0xe0) this.#low = 0xa0;
    else if (octet === 0xed) this.#high = 0x9f;
    else if (octet === 0xf0) this.#low = 0x90;
    else if (octet === 0xf4) this.#high = 0x8f;
    return true;
  }
}
