import type { RequestHead, ResponseHead } from "../stream.ts";

/**
 * How the body of a message that we write is delimited (RFC 9112 §6). Nothing else in the proxy decides
 * this: a hop that edits framing fields one by one makes the next read our body as its next message.
 */
export interface Framing {
  /** `none`: no body follows. `close`: the body ends with the connection; responses to HTTP/1.0 only. */
  readonly kind: "none" | "length" | "chunked" | "close";
  /** What Content-Length says; -1: the field is not written. With `none` it may be what HEAD or 304 announce. */
  readonly length: number;
}

const NONE: Framing = { kind: "none", length: -1 };
const EMPTY: Framing = { kind: "none", length: 0 };
const CHUNKED: Framing = { kind: "chunked", length: -1 };
const CLOSE: Framing = { kind: "close", length: -1 };

/**
 * Framing of a request to an HTTP/1.1 server. `end`: no body and no trailers follow; a length that was
 * declared all the same is not repeated, because the server would wait for it.
 */
export function requestFraming(head: RequestHead, end: boolean): Framing {
  if (!end) return head.contentLength >= 0 ? { kind: "length", length: head.contentLength } : CHUNKED;
  // RFC 9110 §8.6: 0 is said of methods that expect content, where some servers answer 411 without it.
  return head.contentLength >= 0 || head.method === "POST" || head.method === "PUT" || head.method === "PATCH" ? EMPTY : NONE;
}

/** Framing of the response to a `requestMethod` request of a client that speaks HTTP/1.0 (10) or 1.1 (11). */
export function responseFraming(head: ResponseHead, end: boolean, requestMethod: string, downstreamVersion: 10 | 11): Framing {
  if (head.status < 200 || head.status === 204) return NONE;
  if (requestMethod === "HEAD" || head.status === 304) {
    return head.contentLength >= 0 ? { kind: "none", length: head.contentLength } : NONE;
  }
  if (end) return EMPTY;
  if (head.contentLength >= 0) return { kind: "length", length: head.contentLength };
  return downstreamVersion === 11 ? CHUNKED : CLOSE;
}
