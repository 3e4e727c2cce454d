import { escapedOctet } from "./octets.ts";

/**
 * What a normalised path is compared by: the octets that a server gets when it decodes it, with all that
 * servers treat differently taken out, so that two spellings of one resource have one key:
 * escapes decoded once, slashes merged, parameters (";…", RFC 3986 §3.3; "%3B" too, some cut after
 * decoding) cut off each segment unless `parameters` is "keep", full-width forms of ASCII (U+FF01 to U+FF5E) mapped to ASCII.
 *
 * The key is only compared, never forwarded. `path` must come from `normalizePath`: there "/" cannot
 * stand for anything but a separator.
 */
export function matchKey(path: string, parameters: "cut" | "keep" = "cut"): string {
  if (!path.includes("%") && !path.includes("//") && (parameters === "keep" || !path.includes(";"))) return path;
  let key = "";
  let cutting = false;
  for (let i = 0; i < path.length; i++) {
    const char = path[i] as string;
    if (char === "/") {
      cutting = false;
      if (!key.endsWith("/")) key += "/";
    } else if (cutting) {
    } else if (parameters === "cut" && (char === ";" || path.startsWith("%3B", i))) {
      cutting = true;
    } else if (char === "%") {
      const octet = escapedOctet(path, i);
      const folded = octet === 0xef ? fullWidth(path, i) : -1;
      key += folded >= 0 ? String.fromCharCode(folded) : octet < 0 ? char : String.fromCharCode(octet);
      i += folded >= 0 ? 8 : octet < 0 ? 0 : 2;
    } else {
      key += char;
    }
  }
  return key;
}

/** The ASCII code of the full-width form escaped as "%EF%BC%xx" or "%EF%BD%xx" at `at`, else -1. */
function fullWidth(path: string, at: number): number {
  if (path[at + 3] !== "%" || path[at + 6] !== "%") return -1;
  const second = escapedOctet(path, at + 3);
  const third = escapedOctet(path, at + 6);
  if (second === 0xbc && third >= 0x81 && third <= 0xbf) return third - 0x60;
  if (second === 0xbd && third >= 0x80 && third <= 0x9e) return third - 0x20;
  return -1;
}
