import type { Fields } from "../stream.ts";
import { FieldSection, parseFields } from "./fields.ts";
import { type Problem, problem } from "./problem.ts";

const FRAMING = problem(400, "framing field in a trailer section");

/**
 * Fields that mean something only before the content: framing, routing, authentication, request
 * modifiers, response control, and how to read the content (RFC 9110 §6.5.1). A recipient that merges
 * trailers into its header fields would otherwise take from a body what no policy has seen.
 */
const FORBIDDEN: ReadonlySet<string> = new Set([
  ..."content-length transfer-encoding connection keep-alive proxy-connection te upgrade trailer host expect".split(" "),
  ..."authorization proxy-authorization www-authenticate proxy-authenticate authentication-info cookie set-cookie".split(" "),
  ..."content-encoding content-type content-range content-location forwarded x-real-ip via max-forwards".split(" "),
  ..."cache-control pragma age date expires location retry-after vary warning range".split(" "),
  ..."if-match if-none-match if-modified-since if-unmodified-since if-range".split(" "),
]);

/** Whether a trailer section must not have a field of this name (any case). */
export function isForbiddenTrailer(name: string): boolean {
  const lower = name.toLowerCase();
  return FORBIDDEN.has(lower) || lower.startsWith("x-forwarded-");
}

/**
 * Reads a trailer section, which `text` is as a whole with the CRLF CRLF that ends it, by the rules of
 * header fields. Forbidden fields are dropped (RFC 9112 §7.1.2 leaves that to us); those that frame a
 * message are refused, because whoever merges them frames another message than we did.
 */
export function parseTrailers(text: string, bytes: Uint8Array, base: number): Fields | Problem {
  const section = new FieldSection();
  const refused = parseFields(text, bytes, base, 0, section);
  if (refused !== null) return refused;
  if (section.chunked || section.contentLength >= 0) return FRAMING;
  const fields: Fields = [];
  for (let i = 0; i < section.fields.length; i += 2) {
    const name = section.fields[i]!;
    if (!isForbiddenTrailer(name)) fields.push(name, section.fields[i + 1]!);
  }
  return fields;
}
