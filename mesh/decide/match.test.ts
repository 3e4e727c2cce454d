import assert from "node:assert/strict";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { PathMatchType, ServiceSchema, type ValueMatchSchema, ValueMatchType } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { compileService } from "./compile.ts";
import { type RequestView, requestView } from "./match.ts";
import { trace } from "./trace.ts";

interface MatchInit {
  path?: { type: PathMatchType; value: string };
  method?: string;
  headers?: MessageInitShape<typeof ValueMatchSchema>[];
  queryParams?: MessageInitShape<typeof ValueMatchSchema>[];
}

const exact = (value: string): MatchInit => ({ path: { type: PathMatchType.EXACT, value } });
const prefix = (value: string): MatchInit => ({ path: { type: PathMatchType.PREFIX, value } });
const header = (name: string, value: string): MatchInit => ({ headers: [{ type: ValueMatchType.EXACT, name, value }] });
const param = (name: string, value: string): MatchInit => ({ queryParams: [{ type: ValueMatchType.EXACT, name, value }] });

function view(request: { method?: string; target?: string; fields?: string[]; authority?: string }): RequestView {
  const result = requestView(request.method ?? "GET", request.target ?? "/", request.fields ?? [], request.authority ?? "");
  assert.ok(!("refused" in result));
  return result;
}

const serviceOf = (matches: MatchInit[]) =>
  create(ServiceSchema, {
    clusters: [{ name: "c" }],
    routes: matches.map((match, index) => ({ name: `r${index}`, index, matches: [match] })),
  });

const matches = (match: MatchInit, request: Parameters<typeof view>[0]) => compileService(serviceOf([match])).match(view(request)) !== null;

describe("a match", () => {
  const table: [string, MatchInit, Parameters<typeof view>[0], boolean][] = [
    ["without conditions takes everything", {}, { method: "POST", target: "/x?y" }, true],
    ["without conditions takes OPTIONS *", {}, { method: "OPTIONS", target: "*" }, true],
    ["on an exact path takes it", exact("/a"), { target: "/a?x" }, true],
    ["on an exact path does not take it with a slash more", exact("/a"), { target: "/a/" }, false],
    ["on an exact path with a slash does not take it without", exact("/a/"), { target: "/a" }, false],
    ["on a path minds case", exact("/a"), { target: "/A" }, false],
    ["on an exact path written with a blank takes nothing", exact("/a b"), { target: "/a%20b" }, false],
    ["on an exact path may be written with escapes", exact("/a%20%62"), { target: "/a%20b" }, true],
    ["on a path beyond ASCII compares its UTF-8", prefix("/café"), { target: "/caf%c3%a9/x" }, true],
    ["on a path takes escaped reserved characters for plain ones", exact("/@me"), { target: "/%40me" }, true],
    ["on a path ignores parameters", exact("/a/b"), { target: "/a;v=1/b;w" }, true],
    ["on a path with parameters compares them", exact("/a;v=1"), { target: "/a;v=1" }, true],
    ["on a path with parameters is not for others", exact("/a;v=1"), { target: "/a;v=2" }, false],
    ["on a path that no request can have takes nothing", prefix("/a/../../b/%2f"), { target: "/b" }, false],
    ["on a path with a query takes nothing", exact("/a?b"), { target: "/a?b" }, false],
    ["on a prefix takes the path itself", prefix("/a"), { target: "/a" }, true],
    ["on a prefix takes what is below", prefix("/a"), { target: "/a/b/c" }, true],
    ["on a prefix means whole segments", prefix("/a"), { target: "/ab" }, false],
    ["on a prefix ignores a slash at its end", prefix("/a/"), { target: "/a" }, true],
    ["on a prefix with a slash still means whole segments", prefix("/a/"), { target: "/ab" }, false],
    ["on prefix / takes everything", prefix("/"), { target: "/x/y" }, true],
    ["on a path does not take OPTIONS *", prefix("/a"), { method: "OPTIONS", target: "*" }, false],
    ["of a kind of path not known here takes nothing", { path: { type: 7 as PathMatchType, value: "/a" } }, { target: "/a" }, false],
    ["on a method takes it", { method: "GET" }, {}, true],
    ["on a method minds case", { method: "GET" }, { method: "get" }, false],
    ["on a header takes the value", header("x-user", "beta"), { fields: ["a", "b", "x-user", "beta"] }, true],
    ["on a header ignores the case of the name", header("X-uSER", "beta"), { fields: ["X-User", "beta"] }, true],
    ["on a header minds the case of the value", header("x-user", "beta"), { fields: ["x-user", "Beta"] }, false],
    ["on a header is not for a longer value", header("x-user", "beta"), { fields: ["x-user", "beta2"] }, false],
    ["on a header joins fields of one name by commas", header("x-user", "a,b"), { fields: ["x-user", "a", "y", "", "X-USER", "b"] }, true],
    ["on a header is not for one of several values", header("x-user", "b"), { fields: ["x-user", "a", "x-user", "b"] }, false],
    ["on cookies joins them by semicolons", header("cookie", "a=1; b=2"), { fields: ["cookie", "a=1", "cookie", "b=2"] }, true],
    ["on an empty header wants it present", header("x-user", ""), { fields: [] }, false],
    ["on an empty header takes it present", header("x-user", ""), { fields: ["x-user", ""] }, true],
    ["on a header does not take a value for a name", header("b", "c"), { fields: ["a", "b", "c", "d"] }, false],
    ["on a header beyond ASCII compares its UTF-8", header("x", "é"), { fields: ["x", "\xc3\xa9"] }, true],
    ["on host looks at the authority", header("Host", "web"), { authority: "web" }, true],
    [
      "on a twice named header minds the first",
      {
        headers: [
          { name: "x", value: "1" },
          { name: "X", value: "2" },
        ],
      },
      { fields: ["x", "1"] },
      true,
    ],
    [
      "of a kind of header match not known here takes nothing",
      { headers: [{ type: 7 as ValueMatchType, name: "x", value: "1" }] },
      { fields: ["x", "1"] },
      false,
    ],
    ["on a parameter takes it", param("q", "1"), { target: "/?a=2&q=1" }, true],
    ["on a parameter minds the first of several", param("q", "2"), { target: "/?q=1&q=2" }, false],
    ["on a parameter minds the case of its name", param("q", "1"), { target: "/?Q=1" }, false],
    ["on a parameter decodes name and value", param("q r", "a+b c"), { target: "/?q+r=a%2bb+c" }, true],
    ["on a parameter keeps an invalid escape", param("q", "50%"), { target: "/?q=50%" }, true],
    ["on an empty parameter takes it without =", param("q", ""), { target: "/?q" }, true],
    ["on an empty parameter wants it present", param("q", ""), { target: "/?r&&qq=" }, false],
    ["on a parameter finds = in its value", param("q", "a=b"), { target: "/?x&q=a=b" }, true],
    [
      "wants all of its conditions",
      { ...prefix("/a"), ...header("x", "1"), ...param("q", "1"), method: "GET" },
      { target: "/a?q=1", fields: ["x", "1"] },
      true,
    ],
    [
      "fails by one of them",
      { ...prefix("/a"), ...header("x", "1"), ...param("q", "1"), method: "GET" },
      { target: "/a?q=2", fields: ["x", "1"] },
      false,
    ],
  ];
  it.each(table)("%s", (_, match, request, expected) => {
    assert.equal(matches(match, request), expected);
  });
});

describe("precedence", () => {
  const many = (n: number) => Array.from({ length: n }, (_, i) => ({ name: `h${i}`, value: "1" }));
  const fields = many(16).flatMap(({ name, value }) => [name, value]);
  const query = many(4).map(({ name, value }) => `${name}=${value}`);
  const all = { method: "POST", target: `/aa/bb?${query.join("&")}`, fields };
  const table: [string, MatchInit, MatchInit][] = [
    [
      "an exact path beats everything else",
      exact("/aa/bb"),
      { ...prefix("/aa/bb"), method: "POST", headers: many(16), queryParams: many(4) },
    ],
    [
      "a longer prefix beats method, headers and parameters",
      prefix("/aa/bb"),
      { ...prefix("/aa"), method: "POST", headers: many(16), queryParams: many(4) },
    ],
    ["any prefix beats no path", prefix("/aa"), { method: "POST", headers: many(3) }],
    ["a method beats any number of headers", { method: "POST" }, { headers: many(16) }],
    ["more headers beat fewer", { headers: many(2) }, { headers: many(1), queryParams: many(4) }],
    ["a header beats any number of parameters", { headers: many(1) }, { queryParams: many(4) }],
    ["more parameters beat fewer", { queryParams: many(2) }, { queryParams: many(1) }],
    ["a parameter beats nothing", { queryParams: many(1) }, {}],
  ];
  it.each(table)("%s", (_, preferred, over) => {
    assert.equal(compileService(serviceOf([over, preferred])).match(view(all))?.name, "r1");
    assert.equal(compileService(serviceOf([preferred, over])).match(view(all))?.name, "r0");
  });
  it("of equals goes to the one listed first", () => {
    const document = serviceOf([{ headers: [{ name: "h1", value: "1" }] }, { headers: [{ name: "h2", value: "1" }] }]);
    assert.equal(compileService(document).match(view(all))?.name, "r0");
  });
  it("of equals goes by the position in the policy, not in the document", () => {
    const document = serviceOf([{}, {}]);
    document.routes.reverse();
    assert.equal(compileService(document).match(view(all))?.name, "r0");
  });
  it("is of matches, not of routes: one route's second match may come between another's", () => {
    const document = create(ServiceSchema, {
      routes: [
        { name: "outer", index: 0, matches: [prefix("/"), exact("/aa/bb")] },
        { name: "inner", index: 1, matches: [prefix("/aa")] },
      ],
    });
    const service = compileService(document);
    assert.equal(service.match(view({ target: "/aa/bb" }))?.name, "outer");
    assert.equal(service.match(view({ target: "/aa" }))?.name, "inner");
    assert.equal(service.match(view({ target: "/" }))?.name, "outer");
  });
});

describe("a service", () => {
  it("without routes sends everything to cluster 0, without limits", () => {
    const service = compileService(create(ServiceSchema, { clusters: [{ name: "shop/web:80" }, { name: "shop/web:80/v2" }] }));
    const route = service.match(view({ target: "/any" }));
    assert.ok(route !== null);
    assert.deepEqual(
      { id: route.id, name: route.name, retry: route.retry, faults: route.faults, timeouts: route.timeouts, budget: route.budget },
      {
        id: 0,
        name: "",
        retry: null,
        faults: null,
        timeouts: { requestMs: 0, backendRequestMs: 0, idleMs: 0 },
        budget: { percent: 20, minPerSecond: 10 },
      },
    );
    assert.deepEqual(
      route.backends.map(({ cluster, name, unresolved }) => ({ cluster, name, unresolved })),
      [{ cluster: 0, name: "shop/web:80", unresolved: false }],
    );
  });
  it("with routes of which none matches has no route for the request", () => {
    const document = serviceOf([prefix("/a")]);
    assert.equal(compileService(document).match(view({ target: "/b" })), null);
    assert.equal(trace(document, view({ target: "/b" })).error, "WEFT_NO_ROUTE");
  });
  it("treats a backend whose cluster is not in the document as unresolved, never as another cluster", () => {
    const document = create(ServiceSchema, { clusters: [{ name: "c" }], routes: [{ backends: [{ cluster: 3, weight: 1 }] }] });
    assert.equal(compileService(document).routes[0]?.backends[0]?.unresolved, true);
  });
  it("keeps nothing of a request after it was matched", () => {
    const service = compileService(serviceOf([header("x", "1")]));
    assert.notEqual(service.match(view({ fields: ["x", "1"] })), null);
    assert.equal(service.match(view({ fields: [] })), null);
  });
});
