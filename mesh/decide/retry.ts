import type { Retry } from "#api/gen/weft/discovery/v1/discovery_pb.ts";

/** Most octets of a request body that are kept for sending it again. A longer body is sent once. */
export const REPLAY_BYTES_MAX = 64 * 1024;
/** Most further attempts after ones that were surely not processed, beyond what the policy allows. */
export const UNPROCESSED_RETRIES_MAX = 2;

/** See `RetryBudget`. Both 0: no further attempt at all. */
export interface BudgetLimits {
  readonly percent: number;
  readonly minPerSecond: number;
}

export const DEFAULT_BUDGET: BudgetLimits = { percent: 20, minPerSecond: 10 };
const DEFAULT_BACKOFF_MS = 25;
/** The backoff doubles with every attempt up to so many times the first: 25 ms to 250 ms by default. */
const BACKOFF_GROWTH_MAX = 10;

export interface CompiledRetry {
  /** Attempts after the first. */
  readonly attempts: number;
  readonly codes: ReadonlySet<number>;
  /** Upper end of the first wait. 0: the default, 25 ms. */
  readonly backoffMs: number;
  readonly nonIdempotent: boolean;
}

/** Null when there is no policy, or it allows no attempt. */
export function compileRetry(retry: Retry | undefined): CompiledRetry | null {
  if (retry === undefined || retry.attempts === 0) return null;
  const { attempts, codes, backoffMs, nonIdempotent } = retry;
  return { attempts, codes: new Set(codes), backoffMs, nonIdempotent };
}

export function budgetOf(retry: Retry | undefined): BudgetLimits {
  return retry === undefined ? DEFAULT_BUDGET : { percent: retry.budgetPercent, minPerSecond: retry.budgetMinPerSecond };
}

/**
 * How an attempt ended.
 * - `response`: the head of a final response is here.
 * - `connect-failed`: no connection (refused, connect timeout, TLS, wrong peer): nothing was sent.
 * - `refused`: the peer promises that it has not processed the request (REFUSED_STREAM, GOAWAY).
 * - `lost`: the connection ended or broke.
 * - `reset`: the peer reset the stream for another reason, or broke the protocol.
 * - `timeout`: timeouts.backendRequest passed.
 */
export type AttemptEnd = "response" | "connect-failed" | "refused" | "lost" | "reset" | "timeout";

export interface AttemptOutcome {
  readonly method: string;
  readonly end: AttemptEnd;
  /** Of the response; 0 without one. */
  readonly status: number;
  /** The connection had carried a request before, or carries others: its peer may have closed it while idle. */
  readonly reused: boolean;
  /** At least one octet of a response was read. */
  readonly answered: boolean;
  /** The head of a response has gone downstream: nothing can be taken back. */
  readonly headForwarded: boolean;
  /** All that was read of the request's body is still held (at most REPLAY_BYTES_MAX). */
  readonly replayable: boolean;
  /** Further attempts made so far under the policy, this one included if it was one. */
  readonly policyRetries: number;
  /** Further attempts made so far beyond the policy. */
  readonly unprocessedRetries: number;
}

/**
 * Whether to try again, and on whose account: `unprocessed` counts into `unprocessedRetries`, `policy`
 * into `policyRetries`. Both need a token of the budget.
 */
export type RetryVerdict = "never" | "unprocessed" | "policy";

/** Methods whose repetition means the same (RFC 9110 §9.2.2). */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "OPTIONS":
    case "PUT":
    case "DELETE":
    case "TRACE":
      return true;
    default:
      return false;
  }
}

export function judgeRetry(policy: CompiledRetry | null, attempt: AttemptOutcome): RetryVerdict {
  if (attempt.headForwarded || !attempt.replayable) return "never";
  const idempotent = isIdempotent(attempt.method);
  const unprocessed =
    attempt.end === "connect-failed" ||
    (attempt.end === "refused" && !attempt.answered) ||
    // The peer may have closed it for idleness just as we wrote (RFC 9112 §9.3.1). It may also have read
    // the request and died, so only for what may be repeated.
    (attempt.end === "lost" && attempt.reused && !attempt.answered && idempotent);
  if (unprocessed && attempt.unprocessedRetries < UNPROCESSED_RETRIES_MAX) return "unprocessed";
  if (policy === null || attempt.policyRetries >= policy.attempts) return "never";
  if (unprocessed) return "policy";
  if (!idempotent && !policy.nonIdempotent) return "never";
  if (attempt.end === "response" && !policy.codes.has(attempt.status)) return "never";
  return "policy";
}

/** Is this attempt to be followed by another? The budget is asked after this, and only if it says yes. */
export function retryable(policy: CompiledRetry | null, attempt: AttemptOutcome): boolean {
  return judgeRetry(policy, attempt) !== "never";
}

/**
 * How long to wait before further attempt number `attempt` (1 is the first), in milliseconds: anything from 0 to
 * the policy's backoff, doubled for every attempt since, at most ten times it ("full jitter", so that
 * clients which failed together do not come back together). `r` from [0, 1).
 */
export function backoffMs(policy: CompiledRetry | null, attempt: number, r: number): number {
  const first = policy === null || policy.backoffMs === 0 ? DEFAULT_BACKOFF_MS : policy.backoffMs;
  const most = first * Math.min(BACKOFF_GROWTH_MAX, 2 ** Math.max(0, attempt - 1));
  return r * most;
}
