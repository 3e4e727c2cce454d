/**
 * Writes HTTP/1.1 messages. Each function makes one Buffer and checks every octet in it.
 *
 * Heads may come from an HTTP/2 peer or from a policy's filters, so nothing is trusted: a method, target,
 * authority, reason, field name or value that could not have been read by our decoder (CR, LF, NUL, other
 * controls, chars above 0xff, framing and connection fields) makes the function return null. Nothing
 * throws, and no part of such a message is written: the caller treats it as broken.
 */
import type { Fields, RequestHead, ResponseHead } from "../stream.ts";
import { FieldSection, parseFields, SPECIAL, specialField } from "./fields.ts";
import type { Framing } from "./framing.ts";
import { AUTHORITY, areIn, TARGET, TOKEN, VALUE } from "./octets.ts";
import { isForbiddenTrailer } from "./trailers.ts";

export interface ResponseOptions {
  /** The connection may carry another response after this one. False writes "connection: close". */
  readonly keepAlive: boolean;
  /** What the client speaks; 10 needs "connection: keep-alive" to stay. */
  readonly downstreamVersion: 10 | 11;
  /** Further field lines, each with its CRLF, written as they are once checked: for `connection: upgrade` and `upgrade`. */
  readonly extra?: string;
}

/** Bodies up to this many bytes are worth copying behind their head: one write of one Buffer is cheaper than two. */
export const COPY_BYTES_MAX = 16_384;

/** Ends a chunked body without trailers. */
export const CHUNKED_END: Buffer = Buffer.from("0\r\n\r\n", "latin1");

/** The interim response 100 (Continue). */
export const CONTINUE: Buffer = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n", "latin1");

const EMPTY = Buffer.alloc(0);
const NO_BODY: Framing = { kind: "none", length: -1 };
const AFTER_TARGET = " HTTP/1.1\r\nhost: ";
const STATUS_PREFIX = "HTTP/1.1 200 ";

/** The head of a request; null when it cannot be written safely. `extra` as in ResponseOptions. */
export function encodeRequestHead(head: RequestHead, framing: Framing, extra = ""): Buffer | null {
  return encodeRequest(head, framing, null, false, extra);
}

/**
 * A request's head and its first body bytes in one Buffer. `body` null: the head alone. `end`: the body ends
 * with it. An HTTP/1.0 request without Host is written with an empty one (RFC 9112 §3.2).
 */
export function encodeRequest(head: RequestHead, framing: Framing, body: Buffer | null, end: boolean, extra = ""): Buffer | null {
  const { method, target, authority, fields } = head;
  if (method === "" || method === "CONNECT" || !(target.startsWith("/") || (target === "*" && method === "OPTIONS"))) return null;
  const te = teLine(fields);
  if (te === null || !areFieldLines(extra)) return null;
  const start = `${method} ${target}${AFTER_TARGET}${authority}\r\n`;
  const out = assemble(start, fields, `${framingLine(framing)}${te}${extra}\r\n`, framing, body, end);
  if (out === null) return null;
  const targetStart = method.length + 1;
  const targetEnd = targetStart + target.length;
  const authorityStart = targetEnd + AFTER_TARGET.length;
  const writable =
    areIn(TOKEN, out, 0, method.length) &&
    areIn(TARGET, out, targetStart, targetEnd) &&
    areIn(AUTHORITY, out, authorityStart, authorityStart + authority.length);
  return writable ? out : null;
}

/** The head of a final response, or of 101; null when it cannot be written safely. */
export function encodeResponseHead(head: ResponseHead, framing: Framing, options: ResponseOptions): Buffer | null {
  return encodeResponse(head, framing, null, false, options);
}

/** A response's head and its first body bytes in one Buffer. `body` and `end` as in `encodeRequest`. */
export function encodeResponse(
  head: ResponseHead,
  framing: Framing,
  body: Buffer | null,
  end: boolean,
  options: ResponseOptions,
): Buffer | null {
  const extra = options.extra ?? "";
  if (!areFieldLines(extra)) return null;
  // 1xx and 204 have no framing fields at all (RFC 9110 §8.6), whatever the caller computed.
  const own = head.status < 200 || head.status === 204 ? NO_BODY : framing;
  const connection = head.status < 200 ? "" : connectionLine(framing, options);
  return assembleResponse(head, `${framingLine(own)}${connection}${extra}\r\n`, own, body, end);
}

/** An interim (1xx) response but 101; empty when it cannot be written safely, for nobody depends on an interim response. */
export function encodeInterimHead(head: ResponseHead): Buffer {
  if (head.status === 100 && head.fields.length === 0) return CONTINUE;
  if (head.status >= 200 || head.status === 101) return EMPTY;
  return assembleResponse(head, "\r\n", NO_BODY, null, false) ?? EMPTY;
}

/** One chunk. Of no bytes: nothing, because a chunk of size 0 would end the body. */
export function encodeChunk(data: Uint8Array): Buffer {
  if (data.length === 0) return EMPTY;
  const size = data.length.toString(16);
  const out = Buffer.allocUnsafe(size.length + data.length + 4);
  putChunk(out, 0, size, data);
  return out;
}

/**
 * The end of a chunked body with trailers. Fields that trailers must not have are left out; null when
 * one of the others cannot be written safely.
 */
export function encodeTrailers(fields: Fields): Buffer | null {
  const kept: Fields = [];
  for (let i = 0; i < fields.length; i += 2) if (!isForbiddenTrailer(fields[i]!)) kept.push(fields[i]!, fields[i + 1]!);
  return kept.length === 0 ? CHUNKED_END : assemble("0\r\n", kept, "\r\n", NO_BODY, null, false);
}

function assembleResponse(head: ResponseHead, last: string, framing: Framing, body: Buffer | null, end: boolean): Buffer | null {
  const { status, reason } = head;
  if (!Number.isInteger(status) || status < 100 || status > 999) return null;
  // The SP stays when there is no reason (RFC 9112 §4).
  const out = assemble(`HTTP/1.1 ${status} ${reason}\r\n`, head.fields, last, framing, body, end);
  const reasonStart = STATUS_PREFIX.length;
  return out !== null && areIn(VALUE, out, reasonStart, reasonStart + reason.length) ? out : null;
}

function framingLine(framing: Framing): string {
  if (framing.kind === "chunked") return "transfer-encoding: chunked\r\n";
  return framing.kind !== "close" && framing.length >= 0 ? `content-length: ${framing.length}\r\n` : "";
}

function connectionLine(framing: Framing, options: ResponseOptions): string {
  if (!options.keepAlive || framing.kind === "close") return "connection: close\r\n";
  return options.downstreamVersion === 10 ? "connection: keep-alive\r\n" : "";
}

/** Whoever sends TE names it in Connection (RFC 9110 §10.1.4). "" without TE; null for a value that is not ours to send. */
function teLine(fields: Fields): string | null {
  let line = "";
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]!.length !== 2 || specialField(fields[i]!) !== SPECIAL.TE) continue;
    if (fields[i + 1]!.toLowerCase() !== "trailers") return null;
    line = "connection: te\r\n";
  }
  return line;
}

/** Whether `extra` is whole field lines that say nothing about framing. */
function areFieldLines(extra: string): boolean {
  if (extra === "") return true;
  const text = `${extra}\r\n`;
  if (extra.startsWith("\r\n") || text.indexOf("\r\n\r\n") !== text.length - 4 || !isLatin1(text)) return false;
  const section = new FieldSection();
  if (parseFields(text, Buffer.from(text, "latin1"), 0, 0, section) !== null) return false;
  return !section.chunked && section.contentLength < 0 && section.host === null;
}

/**
 * start, fields, last and, when given, body (as a chunk when chunked) in one Buffer. Null when a field may
 * not stand there. `last` is known to be good; `start` is for the caller to check, in the Buffer.
 */
function assemble(start: string, fields: Fields, last: string, framing: Framing, body: Buffer | null, end: boolean): Buffer | null {
  // One native join, half of whose separators `putColons` corrects, costs half of putting line to line.
  const text = fields.length === 0 ? start + last : `${start}${fields.join("\r\n")}\r\n${last}`;
  if (!isLatin1(text)) return null;
  const data = framing.kind === "none" || body === null ? EMPTY : body;
  const chunked = framing.kind === "chunked" && body !== null;
  const chunkSize = chunked && data.length > 0 ? data.length.toString(16) : "";
  const tail = (chunkSize === "" ? data.length : chunkSize.length + data.length + 4) + (chunked && end ? CHUNKED_END.length : 0);
  const out = Buffer.allocUnsafe(text.length + tail);
  latin1Write(out, text);
  if (!putColons(out, start.length, fields)) return null;
  let at = text.length;
  if (chunkSize !== "") at = putChunk(out, at, chunkSize, data);
  else if (data.length > 0) out.set(data, at);
  if (chunked && end) out.set(CHUNKED_END, at);
  return out;
}

/** Node's own method, without the argument handling of write; it is in no type declaration. */
interface Latin1 {
  latin1Write(text: string, offset: number, length: number): number;
}

function latin1Write(out: Buffer, text: string): void {
  (out as unknown as Latin1).latin1Write(text, 0, text.length);
}

/** Whether no char is above 0xff: written as latin1, U+010A would become a line feed. */
function isLatin1(text: string): boolean {
  if (Buffer.byteLength(text) === text.length) return true; // all ASCII, and counted natively
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}

/**
 * Puts ": " behind the names of `fields`, which stand in `out` from `at` on with two octets after each string.
 * False: one is not a name or value that the application may write.
 */
function putColons(out: Buffer, at: number, fields: Fields): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!;
    const nameEnd = at + name.length;
    const valueEnd = nameEnd + 2 + fields[i + 1]!.length;
    if (name === "" || isReserved(name) || !areIn(TOKEN, out, at, nameEnd) || !areIn(VALUE, out, nameEnd + 2, valueEnd)) return false;
    out[nameEnd] = 0x3a;
    out[nameEnd + 1] = 0x20;
    at = valueEnd + 2;
  }
  return true;
}

/** Fields that only the codec writes, and names that a server could take for them. */
function isReserved(name: string): boolean {
  const special = specialField(name);
  return special !== SPECIAL.NONE && special !== SPECIAL.TE && special !== SPECIAL.EXPECT;
}

function putChunk(out: Buffer, at: number, size: string, data: Uint8Array): number {
  for (let i = 0; i < size.length; i++) out[at++] = size.charCodeAt(i);
  out[at++] = 0x0d;
  out[at++] = 0x0a;
  out.set(data, at);
  at += data.length;
  out[at++] = 0x0d;
  out[at++] = 0x0a;
  return at;
}
