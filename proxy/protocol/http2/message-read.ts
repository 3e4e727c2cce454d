/**
 * From decoded fields to the heads of stream.ts (RFC 9113 §8.1 to §8.3). Everything here was written by a
 * peer, and what passes becomes HTTP/1.1 at the app: each rule refused here is a request smuggled there.
 * A function answers a head, or a string that says why the message is malformed.
 */
import type { Fields, HttpVersion, RequestHead, ResponseHead } from "../stream.ts";
import {
  isToken,
  KIND_AUTHORITY,
  KIND_BAD_VALUE,
  KIND_CONNECTION,
  KIND_CONTENT_LENGTH,
  KIND_COOKIE,
  KIND_HOST,
  KIND_INVALID,
  KIND_MASK,
  KIND_METHOD,
  KIND_PATH,
  KIND_PSEUDO_OTHER,
  KIND_REGULAR,
  KIND_SCHEME,
  KIND_STATUS,
  KIND_TE,
  KIND_UPPER,
  KIND_WEFT_OTHER,
  KIND_WEFT_REASON,
  KIND_WEFT_VERSION,
} from "./names.ts";
import { usualReason } from "./reasons.ts";

/** Whose messages these are: a Weft sidecar's (an app's octets as they were) or any HTTP/2 peer's. */
export type Dialect = "weft" | "rfc";

/** A decoded list: hpack/decoder.ts. */
export interface DecodedFields {
  readonly names: readonly string[];
  readonly values: readonly string[];
  readonly kinds: readonly number[];
  readonly count: number;
}

/** Longest reason phrase that is carried. */
export const REASON_CHARS_MAX = 256;

const CONTENT_LENGTH = /^[0-9]{1,15}$/;
const STATUS = /^[1-9][0-9][0-9]$/;
/** Origin-form, or what an app took for it: no white space, no control, no fragment. */
const PATH = /^\/[!"$-~\x80-\xff]*$/;
/** RFC 3986 §3.2 without userinfo (RFC 9113 §8.3.1). */
const AUTHORITY = /^[-.~!$&'()*+,;=:%[\]\w]*$/;

/** What a list holds, gathered in one pass. Reused from message to message. */
class Section {
  method = "";
  scheme = "";
  path = "";
  authority = "";
  status = "";
  reason: string | null = null;
  version: HttpVersion = 11;
  contentLength = -1;
  fields: Fields = [];
  /** Which single fields were seen: a bit a kind. */
  seen = 0;
  cookies: string[] | null = null;
  cookieAt = 0;

  /** Reads the whole list; "" or why it is malformed. `pseudo`: the kinds that may come before the fields, a bit each. */
  read(list: DecodedFields, dialect: Dialect, pseudo: number): string {
    this.reset(dialect);
    const { names, values, kinds, count } = list;
    const weft = dialect === "weft";
    let regularSeen = false;
    for (let i = 0; i < count; i++) {
      const kind = kinds[i]!;
      if (kind === KIND_REGULAR) {
        regularSeen = true;
        this.fields.push(names[i]!, values[i]!);
        continue;
      }
      if (kind & KIND_BAD_VALUE) return "field value with an octet that none may have";
      if (kind & KIND_UPPER && !weft) return "field name in upper case";
      const base = kind & KIND_MASK;
      if (base === KIND_REGULAR) {
        regularSeen = true;
        this.fields.push(names[i]!, values[i]!);
      } else if (base >= KIND_METHOD && base <= KIND_PSEUDO_OTHER) {
        if (regularSeen) return "pseudo-header after a field";
        if ((pseudo & (1 << base)) === 0) return "pseudo-header that this message cannot have";
        if (this.seen & (1 << base)) return "pseudo-header twice";
        this.seen |= 1 << base;
        this.pseudo(base, values[i]!);
      } else {
        regularSeen = true;
        const problem = this.special(base, names[i]!, values[i]!, weft);
        if (problem !== "") return problem;
      }
    }
    if (this.cookies !== null) this.fields.splice(this.cookieAt, 0, "cookie", this.cookies.join("; "));
    return "";
  }

  private reset(dialect: Dialect): void {
    this.method = this.scheme = this.path = this.authority = this.status = "";
    this.reason = null;
    this.version = dialect === "weft" ? 11 : 20;
    this.contentLength = -1;
    this.fields = [];
    this.seen = 0;
    this.cookies = null;
  }

  private pseudo(kind: number, value: string): void {
    if (kind === KIND_METHOD) this.method = value;
    else if (kind === KIND_PATH) this.path = value;
    else if (kind === KIND_AUTHORITY) this.authority = value;
    else if (kind === KIND_SCHEME) this.scheme = value;
    else this.status = value;
  }

  /** Fields that mean something to the codec; "" or why they make the message malformed. */
  private special(kind: number, name: string, value: string, weft: boolean): string {
    switch (kind) {
      case KIND_CONTENT_LENGTH:
        if (this.seen & (1 << kind)) return "content-length twice";
        if (!CONTENT_LENGTH.test(value)) return "content-length that is no number";
        this.seen |= 1 << kind;
        this.contentLength = Number(value);
        return "";
      case KIND_HOST:
        return this.host(value);
      case KIND_TE:
        if (value.toLowerCase() !== "trailers") return "te other than trailers";
        this.fields.push(name, value);
        return "";
      case KIND_CONNECTION:
        return "connection-specific field";
      case KIND_COOKIE:
        if (weft) this.fields.push(name, value);
        else this.crumb(value);
        return "";
      case KIND_WEFT_VERSION:
        return weft ? this.readVersion(value) : "";
      case KIND_WEFT_REASON:
        if (!weft) return "";
        if (this.reason !== null || value.length > REASON_CHARS_MAX) return "weft-reason twice or too long";
        this.reason = value;
        return "";
      case KIND_WEFT_OTHER:
        return "";
      case KIND_INVALID:
        return "field name that is no token";
      default:
        return "field that the codec does not know";
    }
  }

  /** A client may name the host in both ways, but only alike: two parsers must not route by two names. */
  private host(value: string): string {
    if (this.seen & (1 << KIND_HOST)) return "host twice";
    this.seen |= 1 << KIND_HOST;
    if ((this.seen & (1 << KIND_AUTHORITY)) === 0) this.authority = value;
    else if (this.authority.toLowerCase() !== value.toLowerCase()) return "host other than :authority";
    return "";
  }

  /** HTTP/2 clients split their cookies for HPACK's sake; an HTTP/1.1 app must see one field (RFC 9113 §8.2.3). */
  private crumb(value: string): void {
    if (this.cookies === null) {
      this.cookies = [];
      this.cookieAt = this.fields.length;
    }
    this.cookies.push(value);
  }

  private readVersion(value: string): string {
    if (this.seen & (1 << KIND_WEFT_VERSION)) return "weft-http-version twice";
    this.seen |= 1 << KIND_WEFT_VERSION;
    if (value === "1.0") this.version = 10;
    else if (value === "2") this.version = 20;
    else return "weft-http-version that no carrier carries";
    return "";
  }
}

const section = new Section();

const REQUEST_PSEUDO = (1 << KIND_METHOD) | (1 << KIND_SCHEME) | (1 << KIND_PATH) | (1 << KIND_AUTHORITY);
const REQUEST_NEEDED = (1 << KIND_METHOD) | (1 << KIND_SCHEME) | (1 << KIND_PATH);
const FRAMING = (1 << KIND_CONTENT_LENGTH) | (1 << KIND_HOST);

/** `end`: the head has END_STREAM. */
export function readRequest(list: DecodedFields, dialect: Dialect, end: boolean): RequestHead | string {
  const problem = section.read(list, dialect, REQUEST_PSEUDO);
  if (problem !== "") return problem;
  const { method, path, scheme, authority, contentLength } = section;
  if ((section.seen & REQUEST_NEEDED) !== REQUEST_NEEDED) return "request without :method, :scheme or :path";
  if (method !== "GET" && method !== "POST" && !isToken(method)) return "method that is no token";
  if (method === "CONNECT") return "CONNECT";
  if (scheme !== "http" && (scheme !== "https" || dialect === "weft")) return "scheme other than http";
  if (!PATH.test(path) && (path !== "*" || method !== "OPTIONS")) return "path that is no origin-form";
  if (!AUTHORITY.test(authority)) return "authority that is no host and port";
  if (section.reason !== null) return "request with a reason phrase";
  if (end && contentLength > 0) return "content-length of a body that is not there";
  return { method, target: path, authority, version: section.version, fields: section.fields, contentLength };
}

/** Final and interim responses alike; the caller tells them apart by the status. */
export function readResponse(list: DecodedFields, dialect: Dialect): ResponseHead | string {
  const problem = section.read(list, dialect, 1 << KIND_STATUS);
  if (problem !== "") return problem;
  if (!STATUS.test(section.status)) return "response without a status of three digits";
  if (section.seen & (1 << KIND_HOST)) return "response with a host";
  const status = Number(section.status);
  if (status === 101) return "status 101";
  const reason = section.reason ?? (dialect === "weft" ? usualReason(status) : "");
  return { status, reason, version: section.version, fields: section.fields, contentLength: section.contentLength };
}

/** Trailer fields. Those that frame or route a message are no trailers (RFC 9110 §6.5.1). */
export function readTrailers(list: DecodedFields, dialect: Dialect): Fields | string {
  const problem = section.read(list, dialect, 0);
  if (problem !== "") return problem;
  if (section.seen & FRAMING) return "trailer that frames or routes the message";
  return section.fields;
}
