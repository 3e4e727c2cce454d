import type { CompiledMatch } from "./match.ts";

/** A match at its place: which route it belongs to, and where it stands in it. */
export interface Placed {
  readonly match: CompiledMatch;
  /** `Route.index`, then position in the document: the order in which the policy lists them. */
  readonly routeIndex: number;
  readonly position: number;
  readonly matchIndex: number;
}

/**
 * Criteria of precedence, the first that tells two matches apart decides: Gateway API v1,
 * `HTTPRouteRule.matches`. Each yields a negative number when `a` is preferred. The words complete
 * "… is preferred because it has".
 */
const CRITERIA: readonly { readonly words: string; readonly compare: (a: Placed, b: Placed) => number }[] = [
  { words: "an exact path", compare: (a, b) => Number(b.match.exactPath) - Number(a.match.exactPath) },
  { words: "a longer path", compare: (a, b) => b.match.pathLength - a.match.pathLength },
  // Method before headers: the other way round a request can reach a backend that its author had routed
  // elsewhere (CVE-2024-42487).
  { words: "a method", compare: (a, b) => Number(b.match.method) - Number(a.match.method) },
  { words: "more headers", compare: (a, b) => b.match.headers - a.match.headers },
  { words: "more query parameters", compare: (a, b) => b.match.queryParams - a.match.queryParams },
  {
    words: "an earlier place in the policy",
    compare: (a, b) => a.routeIndex - b.routeIndex || a.position - b.position || a.matchIndex - b.matchIndex,
  },
];

/** Orders matches, most preferred first. Pure and total. */
export function compareMatches(a: Placed, b: Placed): number {
  for (const { compare } of CRITERIA) {
    const order = compare(a, b);
    if (order !== 0) return order;
  }
  return 0;
}

/** Which criterion puts `a` before `b`, in words. */
export function whyPreferred(a: Placed, b: Placed): string {
  return CRITERIA.find(({ compare }) => compare(a, b) !== 0)?.words ?? "the same place";
}
