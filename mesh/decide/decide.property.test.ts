import assert from "node:assert/strict";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { type MatchSchema, PathMatchType, ServiceSchema, ValueMatchType } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { compileService } from "./compile.ts";
import { requestView } from "./match.ts";
import { trace } from "./trace.ts";

/*
 * A second reading of Gateway API's rules, slow and naive on purpose, that shares no code with the first:
 * it filters all matches and then takes the best by comparing all pairs.
 */
type MatchInit = MessageInitShape<typeof MatchSchema>;
interface Case {
  readonly routes: { readonly index: number; readonly matches: MatchInit[] }[];
  readonly method: string;
  readonly target: string;
  readonly fields: string[];
}

function referencePathMatches({ path }: MatchInit, target: string): boolean {
  const parts = (text: string) => text.split("/").filter((part) => part !== "");
  const read = decodeURIComponent(new URL(`http://x${target}`).pathname);
  const asked = path?.value ?? "/";
  if (path?.type === PathMatchType.EXACT) return read === asked;
  const prefix = parts(asked);
  return JSON.stringify(parts(read).slice(0, prefix.length)) === JSON.stringify(prefix);
}

function referenceMatches(match: MatchInit, { method, target, fields }: Case): boolean {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) headers.append(fields[i] as string, fields[i + 1] as string);
  const params = new URL(`http://x${target}`).searchParams;
  return (
    referencePathMatches(match, target) &&
    (match.method === "" || match.method === method) &&
    (match.headers ?? []).every(({ name, value }) => headers.get(name as string)?.replaceAll(", ", ",") === value) &&
    (match.queryParams ?? []).every(({ name, value }) => params.get(name as string) === value)
  );
}

/** Is `a` preferred to `b`? As a chain of questions in Gateway API's words. */
function referencePrefers(a: MatchInit, b: MatchInit): boolean | null {
  const exact = (m: MatchInit) => m.path?.type === PathMatchType.EXACT;
  if (exact(a) !== exact(b)) return exact(a);
  const characters = (m: MatchInit) => (m.path?.value ?? "/").length;
  if (characters(a) !== characters(b)) return characters(a) > characters(b);
  if ((a.method === "") !== (b.method === "")) return a.method !== "";
  const headers = (m: MatchInit) => m.headers?.length ?? 0;
  if (headers(a) !== headers(b)) return headers(a) > headers(b);
  const params = (m: MatchInit) => m.queryParams?.length ?? 0;
  if (params(a) !== params(b)) return params(a) > params(b);
  return null;
}

function referenceRoute(given: Case): number | null {
  if (given.routes.length === 0) return 0;
  const all = given.routes.flatMap(({ index, matches }, id) => {
    const list: MatchInit[] = matches.length === 0 ? [{ method: "" }] : matches;
    return list.filter((match) => referenceMatches(match, given)).map((match) => ({ id, index, match }));
  });
  const beaten = (one: (typeof all)[number]) =>
    all.some(
      (other) => referencePrefers(other.match, one.match) ?? (other.index < one.index || (other.index === one.index && other.id < one.id)),
    );
  return all.find((one) => !beaten(one))?.id ?? null;
}

const paths = fc.constantFrom("/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/ab", "/A", "/b");
const method = fc.constantFrom("GET", "POST");
const named = (names: string[], values: string[]) =>
  fc.uniqueArray(
    fc.record({ type: fc.constant(ValueMatchType.EXACT), name: fc.constantFrom(...names), value: fc.constantFrom(...values) }),
    {
      selector: ({ name }) => name,
      maxLength: 2,
    },
  );
const match: fc.Arbitrary<MatchInit> = fc.record({
  path: fc.option(fc.record({ type: fc.constantFrom(PathMatchType.EXACT, PathMatchType.PREFIX), value: paths }), {
    nil: undefined,
  }) as fc.Arbitrary<NonNullable<MatchInit["path"]>>,
  method: fc.constantFrom("", "", "GET", "POST"),
  headers: named(["x-one", "x-two", "x-three"], ["1", "2", "1,2"]),
  queryParams: named(["q", "r"], ["1", "a b"]),
});
const field = fc.tuple(fc.constantFrom("x-one", "X-One", "x-two", "X-TWO", "x-three", "x-on"), fc.constantFrom("1", "2"));
const parameter = fc.constantFrom("q=1", "q=2", "q=a+b", "r=1", "r=a%20b", "%71=1", "r", "", "Q=1");
const decision: fc.Arbitrary<Case> = fc.record({
  routes: fc.array(fc.record({ index: fc.nat({ max: 3 }), matches: fc.array(match, { maxLength: 3 }) }), { maxLength: 5 }),
  method,
  target: fc
    .tuple(fc.oneof(paths, fc.constantFrom("/a/%62", "/./a", "/x/../a/b", "/%61/", "/abc")), fc.array(parameter, { maxLength: 3 }))
    .map(([path, query]) => (query.length === 0 ? path : `${path}?${query.join("&")}`)),
  fields: fc.array(field, { maxLength: 4 }).map((fields) => fields.flat()),
});

function decide(given: Case): { compiled: number | null; traced: number | null; chosen: number | null; reference: number | null } {
  const document = create(ServiceSchema, {
    namespace: "shop",
    name: "web",
    clusters: [{ name: "shop/web:80" }],
    routes: given.routes.map(({ index, matches }) => ({ index, matches, backends: [{ cluster: 0, weight: 1 }] })),
  });
  const view = requestView(given.method, given.target, given.fields);
  assert.ok(!("refused" in view));
  const service = compileService(document);
  // What was looked up for one request must not be seen by the next.
  service.match({ method: "PUT", path: "/a/b", query: "q=2&r=2", fields: ["x-one", "3", "x-two", "3", "x-three", "3"] });
  const explanation = trace(document, view);
  return {
    compiled: service.match(view)?.id ?? null,
    traced: explanation.decision?.routeId ?? null,
    chosen: given.routes.length === 0 ? 0 : (explanation.considered.find(({ outcome }) => outcome === "chosen")?.routeId ?? null),
    reference: referenceRoute(given),
  };
}

describe("a decision", () => {
  it("is the same compiled, traced and by a slow model, for 10^4 documents and requests", () => {
    const reached = { route: 0, none: 0, second: 0 };
    fc.assert(
      fc.property(decision, (given) => {
        const { compiled, traced, chosen, reference } = decide(given);
        assert.deepEqual({ compiled, traced, chosen }, { compiled: reference, traced: reference, chosen: reference });
        reached[compiled === null ? "none" : "route"]++;
        reached.second += compiled !== null && compiled > 0 ? 1 : 0;
      }),
      { numRuns: 10_000, seed: 20260801 },
    );
    // The cases are worth something only if they go all ways.
    assert.ok(Math.min(reached.route, reached.none, reached.second) > 1000, JSON.stringify(reached));
  });
});
