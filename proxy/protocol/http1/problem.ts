/** Why a message is refused. `detail` is a constant of ours: it never repeats octets of the peer. */
export interface Problem {
  /** Status a server answers with. Of a response it means nothing: the proxy's answer is then 502. */
  readonly status: 400 | 417 | 431 | 501 | 505;
  readonly detail: string;
}

export function problem(status: Problem["status"], detail: string): Problem {
  return Object.freeze({ status, detail });
}

export const HEAD_TOO_LARGE: Problem = problem(431, "head or trailer section is larger than 64 KiB");
export const TOO_MANY_FIELDS: Problem = problem(431, "more than 200 fields");
export const BARE_LF: Problem = problem(400, "LF without CR");
export const BARE_CR: Problem = problem(400, "CR without LF");
export const CONTROL_OCTET: Problem = problem(400, "control octet");
