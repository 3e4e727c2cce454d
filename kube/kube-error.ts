/** What an API server said instead of an answer, or that it said none. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status; 0: no answer came (no connection, a reset, too slow, not JSON). */
  readonly status: number;
  /** `reason` of the Status object: "NotFound", "AlreadyExists", "Conflict", "Expired"…; "" without one. */
  readonly reason: string;
  /** How long the server asks to be left alone, milliseconds; null when it does not ask. */
  readonly retryAfterMs: number | null;
  readonly causes: readonly StatusCause[];

  constructor(message: string, status = 0, reason = "", retryAfterMs: number | null = null, causes: readonly StatusCause[] = []) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
    this.causes = causes;
  }
}

/** An answer that had begun, and then nothing for too long: the connection is half-open, or there is nothing to say. */
export class SilentConnection extends KubeError {}

/** One field that is in the way (meta/v1 StatusCause). */
export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  /** Path of the field, as the server writes it. */
  readonly field: string;
}

/** Longest that a server's wish is obeyed; a wrong unit or a hostile value must not switch a watch off for a day. */
const RETRY_AFTER_MS_MAX = 5 * 60_000;

/** Reads a meta/v1 Status, whatever came instead of it. `status` is what HTTP said, or 0 for an event of a watch, which has only the body's code. */
export function errorOf(status: number, body: unknown, retryAfter: string | undefined): KubeError {
  const said = record(body);
  const details = record(said["details"]);
  const code = status !== 0 ? status : typeof said["code"] === "number" ? said["code"] : 500;
  const message = text(said["message"]) || (typeof body === "string" && body !== "" ? body.slice(0, 500) : `status ${code}`);
  const seconds = /^\d{1,9}$/.test(retryAfter ?? "") ? Number(retryAfter) : details["retryAfterSeconds"];
  const retryAfterMs = typeof seconds === "number" && seconds >= 0 ? Math.min(seconds * 1000, RETRY_AFTER_MS_MAX) : null;
  const causes = Array.isArray(details["causes"]) ? details["causes"].map(causeOf) : [];
  return new KubeError(message, code, text(said["reason"]), retryAfterMs, causes);
}

/** Any failure as a KubeError: one of node:net's has no status. */
export function asKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  return new KubeError(error instanceof Error ? error.message : String(error));
}

function causeOf(value: unknown): StatusCause {
  const { reason, message, field } = record(value);
  return { reason: text(reason), message: text(message), field: text(field) };
}

/** The value as an object with unknown fields; an empty one when it is anything else. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
