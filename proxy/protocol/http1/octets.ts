/**
 * Which octets may stand where (RFC 9110 §5.5, §5.6.2; RFC 9112 §3.2; RFC 3986 §3.2), as tables
 * for loops over bytes, or over char codes of latin1 strings.
 */

function table(accepts: (octet: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, octet) => (accepts(octet) ? 1 : 0));
}

function setOf(text: string): (octet: number) => boolean {
  const codes = new Set(Array.from(text, (char) => char.charCodeAt(0)));
  return (octet) => codes.has(octet);
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isAlpha = (c: number): boolean => (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a);
const isTokenMark = setOf("!#$%&'*+-.^_`|~");
const isHostMark = setOf("-._~!$&'()*+;=%");

/** tchar: methods, field names, chunk extension names. */
export const TOKEN: Uint8Array = table((c) => isAlpha(c) || isDigit(c) || isTokenMark(c));

/** HTAB, SP, VCHAR and obs-text: field values and reason phrases. */
export const VALUE: Uint8Array = table((c) => c === 0x09 || (c >= 0x20 && c !== 0x7f));

/**
 * Request targets: visible ASCII but "#". Wider than RFC 3986, whose "|" and "{" many clients leave
 * unescaped, and as wide as what Node takes. A fragment is never part of a target; software that strips
 * it routes by another path than ours.
 */
export const TARGET: Uint8Array = table((c) => c > 0x20 && c < 0x7f && c !== 0x23);

/**
 * reg-name and IPv4address. Without ",", though RFC 3986 has it in sub-delims: it is what two Host lines
 * joined by a lenient hop look like.
 */
const HOST: Uint8Array = table((c) => isAlpha(c) || isDigit(c) || isHostMark(c));

/** What an authority is made of, brackets and colons too; `isAuthority` says how. */
export const AUTHORITY: Uint8Array = table((c) => HOST[c] === 1 || c === 0x3a || c === 0x5b || c === 0x5d);

/** Value of a hex digit, 255 for everything else. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) => {
  if (isDigit(c)) return c - 0x30;
  const lower = c | 0x20;
  return c >= 0x41 && lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : 255;
});

/**
 * uri-host [ ":" port ] (RFC 9110 §7.2), not empty, without userinfo. IP literals are IPv6 only; zone ids
 * mean nothing to anyone but the sender. The port may be empty and is at most 65535.
 */
export function isAuthority(text: string): boolean {
  const hostEnd = text.charCodeAt(0) === 0x5b ? endOfIpLiteral(text) : endOfRegName(text);
  if (hostEnd <= 0) return false;
  return hostEnd === text.length || isPort(text, hostEnd);
}

function endOfRegName(text: string): number {
  let at = 0;
  for (; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === 0x3a) return at;
    if (HOST[c] !== 1) return -1;
    if (c === 0x25 && (hexAt(text, at + 1) === 255 || hexAt(text, at + 2) === 255)) return -1;
  }
  return at;
}

function endOfIpLiteral(text: string): number {
  const close = text.indexOf("]");
  let colons = 0;
  for (let at = 1; at < close; at++) {
    const c = text.charCodeAt(at);
    if (c === 0x3a) colons++;
    else if (c !== 0x2e && hexAt(text, at) === 255) return -1;
  }
  return colons >= 2 ? close + 1 : -1;
}

function isPort(text: string, colon: number): boolean {
  if (text.charCodeAt(colon) !== 0x3a || text.length - colon > 6) return false;
  let port = 0;
  for (let at = colon + 1; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (!isDigit(c)) return false;
    port = port * 10 + c - 0x30;
  }
  return port <= 65535;
}

function hexAt(text: string, at: number): number {
  return HEX[text.charCodeAt(at)] ?? 255;
}

/** Whether all of bytes[from, to) are in `set`. */
export function areIn(set: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (set[bytes[i]!] !== 1) return false;
  return true;
}

/**
 * Index of the first octet, from `from` on, that no place in a head or trailer section allows: a control
 * octet, an LF without its CR, or whatever follows a CR and is not LF. -1: none. Depends on nothing behind
 * that octet, so the answer is the same however much has arrived.
 */
export function firstBadOctet(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (at > 0 && text.charCodeAt(at - 1) === 0x0d) {
      if (c !== 0x0a) return at;
    } else if (VALUE[c] !== 1 && c !== 0x0d) return at;
  }
  return -1;
}
