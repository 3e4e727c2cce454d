/** What a field's name means to the codec, found once a name and kept beside it in HPACK's tables. */

/** A field for the message's list. */
export const KIND_REGULAR = 0;
export const KIND_METHOD = 1;
export const KIND_SCHEME = 2;
export const KIND_PATH = 3;
export const KIND_AUTHORITY = 4;
export const KIND_STATUS = 5;
/** A pseudo-header that we do not know or do not take, `:protocol` among them. */
export const KIND_PSEUDO_OTHER = 6;
export const KIND_CONTENT_LENGTH = 7;
export const KIND_HOST = 8;
export const KIND_TE = 9;
/** Names that belong to one HTTP/1.1 connection: malformed in HTTP/2 (RFC 9113 §8.2.2). */
export const KIND_CONNECTION = 10;
export const KIND_COOKIE = 11;
export const KIND_WEFT_VERSION = 12;
export const KIND_WEFT_REASON = 13;
/** Any other name that claims to be ours: dropped, never passed to an app. */
export const KIND_WEFT_OTHER = 14;
/** Not a token. */
export const KIND_INVALID = 15;

export const KIND_MASK = 0x1f;
/** The name has a letter in upper case: malformed in the `rfc` dialect, an app's octets in `weft`. */
export const KIND_UPPER = 0x20;
/** The value has an octet that no field may have, or white space around it. */
export const KIND_BAD_VALUE = 0x40;

/** The version of the message before it became frames, where that was not HTTP/1.1. */
export const WEFT_VERSION_NAME = "weft-http-version";
/** The reason phrase that the app wrote, where it is not the status code's usual one. */
export const WEFT_REASON_NAME = "weft-reason";

const KNOWN = new Map<string, number>([
  [":method", KIND_METHOD],
  [":scheme", KIND_SCHEME],
  [":path", KIND_PATH],
  [":authority", KIND_AUTHORITY],
  [":status", KIND_STATUS],
  ["content-length", KIND_CONTENT_LENGTH],
  ["host", KIND_HOST],
  ["te", KIND_TE],
  ["connection", KIND_CONNECTION],
  ["keep-alive", KIND_CONNECTION],
  ["proxy-connection", KIND_CONNECTION],
  ["transfer-encoding", KIND_CONNECTION],
  ["upgrade", KIND_CONNECTION],
  ["cookie", KIND_COOKIE],
  [WEFT_VERSION_NAME, KIND_WEFT_VERSION],
  [WEFT_REASON_NAME, KIND_WEFT_REASON],
]);

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** With an underscore too: CGI and its heirs cannot tell `weft_x` from `weft-x`. */
const OURS = /^weft[-_]/;

/** A name's KIND_…, with KIND_UPPER where it has upper-case letters. */
export function kindOfName(name: string): number {
  const known = KNOWN.get(name);
  if (known !== undefined) return known;
  if (name.charCodeAt(0) === 0x3a) return KIND_PSEUDO_OTHER;
  if (!TOKEN.test(name)) return KIND_INVALID;
  const lower = name.toLowerCase();
  const upper = lower === name ? 0 : KIND_UPPER;
  return (KNOWN.get(lower) ?? (OURS.test(lower) ? KIND_WEFT_OTHER : KIND_REGULAR)) | upper;
}

/** No control character but a tab inside, and no white space around (RFC 9113 §8.2.1, RFC 9110 §5.5). */
const VALUE = /^(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?$/;

/** Whether a field may have this value. */
export function isFieldValue(value: string): boolean {
  return VALUE.test(value);
}

/** Whether `text` is a token (RFC 9110 §5.6.2): a method, a field's name. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** How HPACK may treat a field's value. */
export const INDEX_USUAL = 0;
/** Changes with each message: kept out of the table, whatever was seen before. */
export const INDEX_NO = 1;
/** Secret: a literal that no hop may index (RFC 7541 §7.1.3). */
export const INDEX_NEVER = 2;

const SECRET = new Set(
  "authorization cookie set-cookie proxy-authorization x-api-key api-key x-auth-token x-amz-security-token x-csrf-token x-xsrf-token".split(
    " ",
  ),
);
const CHANGING = new Set(
  `traceparent tracestate x-request-id x-correlation-id request-id idempotency-key x-amzn-trace-id x-b3-traceid x-b3-spanid
   x-b3-parentspanid b3 uber-trace-id x-datadog-trace-id x-datadog-parent-id x-cloud-trace-context baggage sentry-trace
   content-range content-md5 digest content-digest repr-digest range if-range`.split(/\s+/),
);

/** How to index fields of this name, whatever its letters' case. */
export function indexing(name: string): number {
  const lower = name.toLowerCase();
  if (SECRET.has(lower)) return INDEX_NEVER;
  return CHANGING.has(lower) ? INDEX_NO : INDEX_USUAL;
}
