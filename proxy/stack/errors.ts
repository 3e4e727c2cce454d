import type { ErrorCode } from "#api/errors.ts";
import { ERRORS } from "#api/errors.ts";
import type { Fields } from "../protocol/stream.ts";

/** Something that went wrong with one request or connection. `detail` is for logs, never for a response body. */
export interface ProxyError {
  readonly code: ErrorCode;
  readonly detail: string;
  /** Only for codes whose status differs from case to case (faults, codec errors); 0: see `STATUS`. */
  readonly status?: number;
}

/** Status by which a client learns of each error; codes that never answer a request are absent. RFC 9110 §15. */
const STATUS: Partial<Record<ErrorCode, number>> = {
  WEFT_BAD_REQUEST: 400,
  WEFT_HEAD_TOO_LARGE: 431,
  WEFT_NO_ROUTE: 404,
  WEFT_NO_BACKEND: 500,
  WEFT_NO_ENDPOINT: 503,
  WEFT_CONNECT_FAILED: 503,
  WEFT_CONNECT_TIMEOUT: 503,
  WEFT_APP_UNREACHABLE: 503,
  WEFT_PEER_IDENTITY: 503,
  WEFT_TLS_FAILED: 503,
  WEFT_PLAINTEXT_REFUSED: 403,
  WEFT_UPSTREAM_RESET: 503,
  WEFT_UPSTREAM_PROTOCOL: 502,
  WEFT_REQUEST_TIMEOUT: 504,
  WEFT_BACKEND_TIMEOUT: 504,
  WEFT_IDLE_TIMEOUT: 504,
  WEFT_OVERLOADED: 503,
  WEFT_NOT_READY: 503,
  WEFT_UNKNOWN_SERVICE: 503,
  WEFT_LOOP: 508,
  WEFT_DRAINING: 503,
};

export function statusOf(e: ProxyError): number {
  return e.status !== undefined && e.status > 0 ? e.status : (STATUS[e.code] ?? 500);
}

/** Body and fields of a response that a proxy makes itself: code and summary, no policy names, no addresses. */
export function errorBody(e: ProxyError): Buffer {
  return Buffer.from(`${e.code}: ${ERRORS[e.code].summary}\n`, "latin1");
}

/** Field that tells the application which error of ours it sees. Only a proxy sets it; what applications send under this name is removed. */
export const ERROR_FIELD = "weft-error";

export function errorFields(e: ProxyError): Fields {
  return ["content-type", "text/plain; charset=utf-8", ERROR_FIELD, e.code];
}
