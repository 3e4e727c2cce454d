import { type Match, PathMatchType, type ValueMatch, ValueMatchType } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type Fields, fieldValue } from "./fields.ts";
import { lowerAscii, octetsOf } from "./octets.ts";
import { normalizePath } from "./path.ts";
import { matchKey } from "./path-key.ts";
import { queryParameter } from "./query.ts";

/** What a decision needs to know of a request. */
export interface RequestView {
  /** As received; case-sensitive (RFC 9110 §9.1). */
  readonly method: string;
  /** `path` and `query` of `normalizePath`, never of the wire. */
  readonly path: string;
  readonly query: string;
  readonly fields: Fields;
  /** Host or :authority; what a match on the header "host" is compared with, as it is not among the fields. */
  readonly authority?: string;
}

/** A request as people write it, or why no proxy would let it in. */
export function requestView(method: string, target: string, fields: Fields, authority = ""): RequestView | { refused: string } {
  const normal = normalizePath(target);
  return "refused" in normal ? normal : { method, path: normal.path, query: normal.query, fields, authority };
}

/** What a predicate compares. */
export const COMPARES = { exactPath: 0, pathPrefix: 1, method: 2, header: 3, queryParam: 4 } as const;
export type Compares = (typeof COMPARES)[keyof typeof COMPARES];

/**
 * One condition of a match. The list of a match's predicates is all there is: the proxy runs `holds` over
 * it until one fails, `trace` runs the same `holds` over all of them and tells what it found.
 * One shape for all, so that the engine compiles one loop.
 */
export interface Predicate {
  readonly compares: Compares;
  /** Octets to be equal to; null: no request can have what the document asks for, so this never holds. */
  readonly wanted: string | null;
  /** For headers and query parameters: which of the service's names, see `Names`. Else -1. */
  readonly slot: number;
  /** For paths: the value names parameters (";"), so they are compared too. */
  readonly parameters: boolean;
  /** As the document writes it, for people. */
  readonly name: string;
  readonly value: string;
}

/** The header and query parameter names that a service's matches ask for; each is looked up once a request. */
export class Names {
  readonly headers: string[] = [];
  readonly queryParams: string[] = [];

  slotOf(list: string[], name: string): number {
    const at = list.indexOf(name);
    return at >= 0 ? at : list.push(name) - 1;
  }
}

/** What the predicates of one service have looked up of one request. Reused for the next request. */
export class Lookups {
  readonly #names: Names;
  readonly #headers: (string | null | undefined)[];
  readonly #queryParams: (string | null | undefined)[];
  #request: RequestView | null = null;
  #key: string | null = null;
  #keyWithParameters: string | null = null;

  constructor(names: Names) {
    this.#names = names;
    this.#headers = names.headers.map(() => undefined);
    this.#queryParams = names.queryParams.map(() => undefined);
  }

  /** Forgets what was looked up. Null lets go of the last request. */
  reset(request: RequestView | null): void {
    this.#request = request;
    this.#key = null;
    this.#keyWithParameters = null;
    for (let i = 0; i < this.#headers.length; i++) this.#headers[i] = undefined;
    for (let i = 0; i < this.#queryParams.length; i++) this.#queryParams[i] = undefined;
  }

  /** What the request has where the predicate looks; null for a header or parameter that it lacks. */
  found(predicate: Predicate): string | null {
    const request = this.#request as RequestView;
    switch (predicate.compares) {
      case COMPARES.method:
        return request.method;
      case COMPARES.header:
        return this.#header(request, predicate.slot);
      case COMPARES.queryParam:
        return this.#queryParam(request, predicate.slot);
      default:
        if (predicate.parameters) return (this.#keyWithParameters ??= matchKey(request.path, "keep"));
        return (this.#key ??= matchKey(request.path));
    }
  }

  #header(request: RequestView, slot: number): string | null {
    const known = this.#headers[slot];
    if (known !== undefined) return known;
    const name = this.#names.headers[slot] as string;
    const value = name === "host" ? request.authority || null : fieldValue(request.fields, name);
    this.#headers[slot] = value;
    return value;
  }

  #queryParam(request: RequestView, slot: number): string | null {
    const known = this.#queryParams[slot];
    if (known !== undefined) return known;
    const value = queryParameter(request.query, this.#names.queryParams[slot] as string);
    this.#queryParams[slot] = value;
    return value;
  }
}

/** Does the predicate hold for the request that `lookups` was reset to? */
export function holds(predicate: Predicate, lookups: Lookups): boolean {
  const { wanted } = predicate;
  const found = lookups.found(predicate);
  if (wanted === null || found === null) return false;
  if (predicate.compares !== COMPARES.pathPrefix) return found === wanted;
  // Whole segments: /api covers /api and /api/v1, not /apis.
  return found.startsWith(wanted) && (found.length === wanted.length || found.charCodeAt(wanted.length) === 0x2f);
}

/** A match of a document, compiled. */
export interface CompiledMatch {
  readonly predicates: readonly Predicate[];
  /** For precedence. */
  readonly exactPath: boolean;
  readonly pathLength: number;
  readonly headers: number;
  readonly queryParams: number;
  readonly method: boolean;
}

/** The part of a document's match that decides. */
export type MatchConditions = Pick<Match, "path" | "method" | "headers" | "queryParams">;

/**
 * The predicates of `match`, the cheap ones first. Where a header or parameter name is listed twice the
 * first counts (Gateway API, HTTPRouteMatch). Kinds of match that this version does not know never hold.
 */
export function compileMatch(match: MatchConditions, names: Names): CompiledMatch {
  const predicates: Predicate[] = [];
  if (match.method !== "") {
    predicates.push({ compares: COMPARES.method, wanted: match.method, slot: -1, parameters: false, name: "method", value: match.method });
  }
  const path = compilePath(match);
  if (path.predicate !== null) predicates.push(path.predicate);
  const headers = distinct(match.headers, lowerAscii);
  for (const header of headers) {
    predicates.push(valuePredicate(COMPARES.header, header, names.slotOf(names.headers, lowerAscii(octetsOf(header.name)))));
  }
  const queryParams = distinct(match.queryParams, (name) => name);
  for (const param of queryParams) {
    predicates.push(valuePredicate(COMPARES.queryParam, param, names.slotOf(names.queryParams, octetsOf(param.name))));
  }
  return {
    predicates,
    exactPath: path.exact,
    pathLength: path.length,
    method: match.method !== "",
    headers: headers.length,
    queryParams: queryParams.length,
  };
}

function distinct(values: readonly ValueMatch[], keyOf: (name: string) => string): ValueMatch[] {
  const seen = new Set<string>();
  return values.filter(({ name }) => !seen.has(keyOf(name)) && seen.add(keyOf(name)));
}

function valuePredicate(compares: Compares, { type, name, value }: ValueMatch, slot: number): Predicate {
  // Unspecified is Gateway API's default, Exact.
  const known = type === ValueMatchType.EXACT || type === ValueMatchType.UNSPECIFIED;
  return { compares, wanted: known ? octetsOf(value) : null, slot, parameters: false, name, value };
}

interface PathCondition {
  readonly predicate: Predicate | null;
  readonly exact: boolean;
  readonly length: number;
}

function compilePath({ path }: MatchConditions): PathCondition {
  // No path is Gateway API's default: PathPrefix "/".
  const value = path === undefined || path.value === "" ? "/" : path.value;
  const type = path?.type ?? PathMatchType.PREFIX;
  const exact = type === PathMatchType.EXACT;
  const prefix = type === PathMatchType.PREFIX || type === PathMatchType.UNSPECIFIED;
  const parameters = /;|%3b/i.test(value);
  const normal = normalizePath(octetsOf(value));
  // A value with a query, or one that no request can have, matches nothing rather than something near it.
  let wanted =
    (exact || prefix) && !("refused" in normal) && !value.includes("?") ? matchKey(normal.path, parameters ? "keep" : "cut") : null;
  if (prefix && wanted !== null) wanted = wanted.replace(/\/$/, "");
  if (wanted === "") return { predicate: null, exact, length: value.length };
  const compares = exact ? COMPARES.exactPath : COMPARES.pathPrefix;
  return { predicate: { compares, wanted, slot: -1, parameters, name: "path", value }, exact, length: value.length };
}
