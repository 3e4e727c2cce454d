import type { ErrorCode } from "#api/errors.ts";
import type { Timeouts } from "#api/gen/weft/discovery/v1/discovery_pb.ts";

/** In milliseconds; 0: none. */
export interface CompiledTimeouts {
  /** From the request's head to the response's end, all attempts and waits between them included. */
  readonly requestMs: number;
  /** One attempt, from sending the request to its response's end. */
  readonly backendRequestMs: number;
  /** No octet in either direction. */
  readonly idleMs: number;
}

const NONE: CompiledTimeouts = { requestMs: 0, backendRequestMs: 0, idleMs: 0 };

export function compileTimeouts(timeouts: Timeouts | undefined): CompiledTimeouts {
  if (timeouts === undefined) return NONE;
  const { requestMs, backendRequestMs, idleMs } = timeouts;
  return { requestMs, backendRequestMs, idleMs };
}

/** When a request is on the caller's clock; Infinity for what has not begun. */
export interface Progress {
  /** Its head arrived. */
  readonly headMs: number;
  /** Its current attempt was begun. */
  readonly attemptMs: number;
  /** The last octet moved, in either direction. */
  readonly movedMs: number;
}

/** When the whole request must have ended; Infinity: never. */
export function requestDeadlineMs(timeouts: CompiledTimeouts, headMs: number): number {
  return timeouts.requestMs === 0 ? Infinity : headMs + timeouts.requestMs;
}

/** When the attempt begun at `attemptMs` must have ended, the request's own deadline not considered; Infinity: never. */
export function attemptDeadlineMs(timeouts: CompiledTimeouts, attemptMs: number): number {
  return timeouts.backendRequestMs === 0 ? Infinity : attemptMs + timeouts.backendRequestMs;
}

/** When the exchange counts as dead if no octet moves after `movedMs`; Infinity: never. */
export function idleDeadlineMs(timeouts: CompiledTimeouts, movedMs: number): number {
  return timeouts.idleMs === 0 ? Infinity : movedMs + timeouts.idleMs;
}

/** The first moment at which a timeout can pass: when to look again. Infinity: none is set. */
export function nextDeadlineMs(timeouts: CompiledTimeouts, at: Progress): number {
  return Math.min(requestDeadlineMs(timeouts, at.headMs), attemptDeadlineMs(timeouts, at.attemptMs), idleDeadlineMs(timeouts, at.movedMs));
}

export type TimeoutCode = Extract<ErrorCode, "WEFT_REQUEST_TIMEOUT" | "WEFT_BACKEND_TIMEOUT" | "WEFT_IDLE_TIMEOUT">;

/**
 * Which timeout has passed at `nowMs`, null: none. Where several have, the request's counts first: after
 * it nothing may be tried again, after a backend's it may.
 */
export function passedTimeout(timeouts: CompiledTimeouts, at: Progress, nowMs: number): TimeoutCode | null {
  if (nowMs >= requestDeadlineMs(timeouts, at.headMs)) return "WEFT_REQUEST_TIMEOUT";
  if (nowMs >= attemptDeadlineMs(timeouts, at.attemptMs)) return "WEFT_BACKEND_TIMEOUT";
  if (nowMs >= idleDeadlineMs(timeouts, at.movedMs)) return "WEFT_IDLE_TIMEOUT";
  return null;
}

/** Can a further attempt still begin after waiting `waitMs`, before the request's deadline? */
export function hasTimeFor(timeouts: CompiledTimeouts, headMs: number, nowMs: number, waitMs: number): boolean {
  return nowMs + waitMs < requestDeadlineMs(timeouts, headMs);
}
