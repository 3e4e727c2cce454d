/** How a call ended: gRPC's status codes, and what trailers, HTTP statuses and resets mean as one of them. */
import type { Fields, ResetReason } from "../stream.ts";

export const OK = 0;
export const CANCELLED = 1;
export const UNKNOWN = 2;
export const INVALID_ARGUMENT = 3;
export const DEADLINE_EXCEEDED = 4;
export const PERMISSION_DENIED = 7;
export const RESOURCE_EXHAUSTED = 8;
export const UNIMPLEMENTED = 12;
export const INTERNAL = 13;
export const UNAVAILABLE = 14;
export const UNAUTHENTICATED = 16;

/** Names by code, as gRPC writes them. */
export const CODE_NAMES: readonly string[] = `OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS
 PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS
 UNAUTHENTICATED`.split(/\s+/);

export interface GrpcFault {
  /** 0 to 16; a number that gRPC does not know is UNKNOWN. */
  readonly code: number;
  /** For people; may be "". */
  readonly message: string;
}

export interface GrpcStatus extends GrpcFault {
  /** The peer said so itself, in `grpc-status`; false: it was concluded on our side. */
  readonly fromPeer: boolean;
  /** What came with it, as trailers or in a head without a body. */
  readonly fields: Fields;
}

/** A status that the peer did not send. */
export function concluded(fault: GrpcFault): GrpcStatus {
  return { ...fault, fromPeer: false, fields: [] };
}

/** The value of the first field with this name (lower case), or null. */
export function fieldOf(fields: Fields, name: string): string | null {
  for (let i = 0; i + 1 < fields.length; i += 2) if (fields[i] === name) return fields[i + 1]!;
  return null;
}

/** The status that fields carry; null when they have no `grpc-status`. */
export function statusOfFields(fields: Fields): GrpcStatus | null {
  const said = fieldOf(fields, "grpc-status");
  if (said === null) return null;
  const code = /^(0|[1-9][0-9]?)$/.test(said) && Number(said) < CODE_NAMES.length ? Number(said) : UNKNOWN;
  return { code, message: decodeMessage(fieldOf(fields, "grpc-message") ?? ""), fromPeer: true, fields };
}

const HTTP_CODES: ReadonlyMap<number, number> = new Map([
  [400, INTERNAL],
  [401, UNAUTHENTICATED],
  [403, PERMISSION_DENIED],
  [404, UNIMPLEMENTED],
  [429, UNAVAILABLE],
  [502, UNAVAILABLE],
  [503, UNAVAILABLE],
  [504, UNAVAILABLE],
]);

/** What an answer means that is none of gRPC's (grpc's http-grpc-status-mapping.md): something else answered. */
export function statusOfHttp(status: number, detail: string): GrpcStatus {
  return concluded({ code: HTTP_CODES.get(status) ?? UNKNOWN, message: `HTTP status ${status}${detail}` });
}

/** Whether the body holds messages that we can read. gRPC-Web's do not. */
export function isGrpc(contentType: string | null): boolean {
  return contentType !== null && /^application\/grpc(\+proto)?\s*(;|$)/i.test(contentType);
}

const RESET_CODES: Readonly<Record<ResetReason, number>> = {
  refused: UNAVAILABLE,
  closed: UNAVAILABLE,
  cancelled: CANCELLED,
  protocol: INTERNAL,
  timeout: DEADLINE_EXCEEDED,
  overload: RESOURCE_EXHAUSTED,
  internal: INTERNAL,
};

/** What it means that a stream ended before its trailers. */
export function statusOfReset(reason: ResetReason, detail: string): GrpcStatus {
  const message = reason === "cancelled" ? `the stream was reset (${detail})` : detail;
  return concluded({ code: RESET_CODES[reason], message });
}

/** Percent-encoded UTF-8, as `grpc-message` has it. What is no encoding stays as it is: a message is for people, and never lost. */
export function decodeMessage(text: string): string {
  if (!/[%\x80-\xff]/.test(text)) return text;
  const octets = text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(octets, "latin1").toString("utf8");
}

/** `grpc-timeout`: at most eight digits and a unit. */
export function timeoutValue(timeoutMs: number): string {
  const whole = Math.max(1, Math.ceil(timeoutMs));
  return whole < 1e8 ? `${whole}m` : `${Math.min(99_999_999, Math.ceil(whole / 1000))}S`;
}
