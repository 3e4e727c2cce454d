/**
 * From the heads of stream.ts to header blocks. Fields that an owner must not pass on (framing, connection,
 * names of ours, names that are no tokens) are left out here too, so that no owner's slip reaches a peer.
 */
import type { Fields, HttpVersion, RequestHead, ResponseHead } from "../stream.ts";
import { BLOCK_OVERHEAD_BYTES, FIELD_OVERHEAD_BYTES, type HpackEncoder } from "./hpack/encoder.ts";
import { type Dialect, REASON_CHARS_MAX } from "./message-read.ts";
import { isFieldValue, KIND_COOKIE, KIND_MASK, KIND_REGULAR, KIND_TE, WEFT_REASON_NAME, WEFT_VERSION_NAME } from "./names.ts";
import { usualReason } from "./reasons.ts";

/** Pseudo-headers, content-length and fields of our own, names and numbers, with all their overheads. */
const OWN_FIELDS_BYTES = 256;

const STATIC_METHOD_GET = 2;
const STATIC_METHOD_POST = 3;
const STATIC_SCHEME_HTTP = 6;
const STATIC_STATUS_200 = 8;

/** Most octets that a block with these fields can take, but for values of pseudo-headers. */
export function fieldsBytesMax(fields: Fields): number {
  let bytes = BLOCK_OVERHEAD_BYTES + OWN_FIELDS_BYTES + (fields.length / 2) * FIELD_OVERHEAD_BYTES;
  for (let i = 0; i < fields.length; i++) bytes += fields[i]!.length;
  return bytes;
}

/** Most octets that a request's block can take. */
export function requestBytesMax(head: RequestHead): number {
  return fieldsBytesMax(head.fields) + head.method.length + head.target.length + head.authority.length;
}

/** Most octets that a response's block can take. */
export function responseBytesMax(head: ResponseHead): number {
  return fieldsBytesMax(head.fields) + REASON_CHARS_MAX;
}

/** Writes a request's block at `pos`; answers where it ends. */
export function writeRequest(encoder: HpackEncoder, head: RequestHead, dialect: Dialect, out: Buffer, pos: number): number {
  let at = encoder.begin(out, pos);
  if (head.method === "GET") out[at++] = 0x80 | STATIC_METHOD_GET;
  else if (head.method === "POST") out[at++] = 0x80 | STATIC_METHOD_POST;
  else at = encoder.field(out, at, encoder.record(":method"), head.method);
  out[at++] = 0x80 | STATIC_SCHEME_HTTP;
  at = encoder.field(out, at, encoder.record(":path"), head.target);
  if (head.authority !== "") at = encoder.field(out, at, encoder.record(":authority"), head.authority);
  if (head.contentLength >= 0) at = encoder.field(out, at, encoder.record("content-length"), String(head.contentLength));
  if (dialect === "weft") at = writeVersion(encoder, head.version, out, at);
  return writeFields(encoder, head.fields, out, at);
}

/** Writes a final or interim response's block at `pos`; answers where it ends. */
export function writeResponse(encoder: HpackEncoder, head: ResponseHead, dialect: Dialect, out: Buffer, pos: number): number {
  let at = encoder.begin(out, pos);
  if (head.status === 200) out[at++] = 0x80 | STATIC_STATUS_200;
  else at = encoder.field(out, at, encoder.record(":status"), String(head.status));
  if (head.contentLength >= 0 && head.status >= 200) {
    at = encoder.field(out, at, encoder.record("content-length"), String(head.contentLength));
  }
  if (dialect === "weft") {
    at = writeVersion(encoder, head.version, out, at);
    const reason = head.reason;
    if (reason !== usualReason(head.status) && reason.length <= REASON_CHARS_MAX && isFieldValue(reason)) {
      at = encoder.field(out, at, encoder.record(WEFT_REASON_NAME), reason);
    }
  }
  return writeFields(encoder, head.fields, out, at);
}

/** Writes a block of trailers at `pos`; answers where it ends. */
export function writeTrailers(encoder: HpackEncoder, fields: Fields, out: Buffer, pos: number): number {
  return writeFields(encoder, fields, out, encoder.begin(out, pos));
}

function writeVersion(encoder: HpackEncoder, version: HttpVersion, out: Buffer, pos: number): number {
  if (version === 11) return pos;
  return encoder.field(out, pos, encoder.record(WEFT_VERSION_NAME), version === 10 ? "1.0" : "2");
}

function writeFields(encoder: HpackEncoder, fields: Fields, out: Buffer, pos: number): number {
  let at = pos;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = encoder.record(fields[i]!);
    const kind = name.kind & KIND_MASK;
    if (kind === KIND_REGULAR || kind === KIND_COOKIE || kind === KIND_TE) at = encoder.field(out, at, name, fields[i + 1]!);
  }
  return at;
}
