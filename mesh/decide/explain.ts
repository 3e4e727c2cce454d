import type { ErrorCode } from "#api/errors.ts";

/** Why a request goes where it goes, in plain data (JSON): what `weft explain` prints. */
export interface Explanation {
  /** "<namespace>/<name>:<port>" */
  readonly service: string;
  /** "TrafficPolicy shop/reviews", or "" when no policy applies. */
  readonly policy: string;
  readonly request: { readonly method: string; readonly path: string; readonly query: string };
  /** Every match of every route, in the order of precedence. Empty when the service has no routes. */
  readonly considered: readonly ConsideredMatch[];
  /** What happens; null when there are routes and none matches. */
  readonly decision: Decision | null;
  /** With what code such a request is answered, null when it is sent on. */
  readonly error: ErrorCode | null;
}

export interface ConsideredMatch {
  readonly route: string;
  /** Position of the route in the document, and of the match in the route, from 0. */
  readonly routeId: number;
  readonly match: number;
  /**
   * - `chosen`: all conditions hold, and none before it matched.
   * - `preceded`: all hold, but the chosen one is preferred, see `reason`.
   * - `lost`: a condition fails.
   */
  readonly outcome: "chosen" | "preceded" | "lost";
  /** For `preceded`: by what the chosen one is preferred. For `lost`: the first condition that fails. Else "". */
  readonly reason: string;
  /** None: it matches every request. */
  readonly conditions: readonly Condition[];
}

export interface Condition {
  readonly kind: "method" | "path" | "path prefix" | "header" | "query parameter";
  /** Of the header or parameter; else "". */
  readonly name: string;
  readonly wanted: string;
  /** What the request has; null: nothing of that name. */
  readonly found: string | null;
  readonly holds: boolean;
}

export interface Decision {
  /** "" for the implicit route of a service without routes. */
  readonly route: string;
  readonly routeId: number;
  readonly backends: readonly BackendShare[];
  /** Milliseconds; 0: none. */
  readonly timeouts: { readonly requestMs: number; readonly backendRequestMs: number; readonly idleMs: number };
  readonly retry: RetryExplanation;
  readonly faults: {
    readonly delayMs: number;
    readonly delayPercent: number;
    readonly abortStatus: number;
    readonly abortPercent: number;
  } | null;
}

export interface BackendShare {
  readonly cluster: string;
  readonly weight: number;
  /** Of the route's requests. */
  readonly percent: number;
  readonly unresolved: boolean;
  readonly requestHeaders: HeaderChange;
  readonly responseHeaders: HeaderChange;
}

export interface HeaderChange {
  /** Lower-case names that are taken out. */
  readonly drop: readonly string[];
  /** Flat list: name, value, name, value… */
  readonly append: readonly string[];
}

export interface RetryExplanation {
  /** Attempts after the first that the policy allows for this request's method. */
  readonly attempts: number;
  readonly codes: readonly number[];
  readonly backoffMs: number;
  /** Why the policy's attempts are not for this request, or "". */
  readonly note: string;
  readonly budgetPercent: number;
  readonly budgetMinPerSecond: number;
}

/** An explanation as lines of text for a terminal, without a final newline. */
export function renderExplanation(explanation: Explanation): string[] {
  const { request, decision, considered } = explanation;
  const target = request.query === "" ? request.path : `${request.path}?${request.query}`;
  const lines = [
    `${request.method} ${target} to ${explanation.service}`,
    explanation.policy === "" ? "no policy applies" : `policy: ${explanation.policy}`,
  ];
  if (considered.length > 0) lines.push("", "matches, in order of precedence:");
  for (const match of considered) lines.push(...renderMatch(match));
  lines.push("");
  if (decision === null) return [...lines, `no route matches: answered 404 (${explanation.error})`];
  lines.push(decision.route === "" ? "goes to the service as a whole:" : `route ${decision.route}:`);
  if (decision.backends.length === 0) lines.push("  no backend");
  for (const backend of decision.backends) lines.push(...renderBackend(backend));
  if (explanation.error !== null) lines.push(`  every request is answered 500 (${explanation.error})`);
  return [...lines, ...renderSettings(decision)];
}

const MARKS = { chosen: "→", preceded: "·", lost: "✗" } as const;

function renderMatch(match: ConsideredMatch): string[] {
  const name = match.route === "" ? `route ${match.routeId}` : match.route;
  const reason = match.reason === "" ? "" : `: ${match.reason}`;
  return [
    `  ${MARKS[match.outcome]} ${name}, match ${match.match}, ${match.outcome}${reason}`,
    ...match.conditions.map((condition) => `      ${condition.holds ? "holds" : "fails"}  ${describeCondition(condition)}`),
  ];
}

/** "header x-user is "beta", wanted "alpha"". */
export function describeCondition({ kind, name, wanted, found, holds }: Condition): string {
  const subject = name === "" ? kind : `${kind} ${name}`;
  if (found === null) return `${subject} is absent, wanted ${JSON.stringify(wanted)}`;
  if (kind === "path prefix") return `path ${JSON.stringify(found)} is ${holds ? "" : "not "}under ${JSON.stringify(wanted)}`;
  return holds ? `${subject} is ${JSON.stringify(wanted)}` : `${subject} is ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`;
}

function renderBackend(backend: BackendShare): string[] {
  const state = backend.unresolved ? ", does not exist: answered 500" : "";
  const lines = [`  ${round(backend.percent)} % to ${backend.cluster === "" ? "a backend without a name" : backend.cluster}${state}`];
  for (const [direction, { drop, append }] of [
    ["request", backend.requestHeaders],
    ["response", backend.responseHeaders],
  ] as const) {
    if (drop.length > 0) lines.push(`      ${direction} headers taken out: ${drop.join(", ")}`);
    for (let i = 0; i < append.length; i += 2) lines.push(`      ${direction} header put in: ${append[i]}: ${append[i + 1]}`);
  }
  return lines;
}

function renderSettings({ timeouts, retry, faults }: Decision): string[] {
  const limits = [
    ["request", timeouts.requestMs],
    ["backendRequest", timeouts.backendRequestMs],
    ["idle", timeouts.idleMs],
  ] as const;
  const set = limits.filter(([, ms]) => ms !== 0).map(([name, ms]) => `${name} ${ms} ms`);
  const lines = [`  timeouts: ${set.length === 0 ? "none" : set.join(", ")}`];
  const codes = retry.codes.length === 0 ? "" : ` on ${retry.codes.join(", ")}`;
  const policy = retry.attempts === 0 ? retry.note : `up to ${retry.attempts}${codes}, backoff ${retry.backoffMs} ms`;
  lines.push(`  retries: ${policy}; budget ${retry.budgetPercent} % and ${retry.budgetMinPerSecond} a second`);
  if (faults !== null && faults.delayMs > 0) lines.push(`  fault: ${round(faults.delayPercent)} % are delayed by ${faults.delayMs} ms`);
  if (faults !== null && faults.abortStatus > 0) lines.push(`  fault: ${round(faults.abortPercent)} % are answered ${faults.abortStatus}`);
  return lines;
}

function round(percent: number): number {
  return Math.round(percent * 100) / 100;
}
