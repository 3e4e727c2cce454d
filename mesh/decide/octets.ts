/**
 * Texts of a document are Unicode, texts of a message are octets, one char each ("binary" strings).
 * Both are compared as octets.
 */

const encoder = new TextEncoder();

/** The UTF-8 octets of `text`, one char each. ASCII, the usual case, is returned as it is. */
export function octetsOf(text: string): string {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) {
      let out = "";
      for (const octet of encoder.encode(text)) out += String.fromCharCode(octet);
      return out;
    }
  }
  return text;
}

/** Value of a hex digit given as char code; -1 for any other char (NaN past the end of a string included). */
export function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** The octet that "%XX" at `at` stands for, or -1 when two hex digits do not follow. */
export function escapedOctet(text: string, at: number): number {
  const high = hexValue(text.charCodeAt(at + 1));
  const low = hexValue(text.charCodeAt(at + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** ASCII letters of `text` lowered, no other char changed: what case-insensitive means for field names. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Are the two the same but for the case of ASCII letters? `lower` must already be lower-case. */
export function equalsIgnoringCase(text: string, lower: string): boolean {
  const length = text.length;
  if (length !== lower.length) return false;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    const wanted = lower.charCodeAt(i);
    if (code !== wanted && (code < 0x41 || code > 0x5a || code + 0x20 !== wanted)) return false;
  }
  return true;
}
