import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { PathMatchType, ServiceSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { renderExplanation } from "./explain.ts";
import { type RequestView, requestView } from "./match.ts";
import { trace } from "./trace.ts";

const document = create(ServiceSchema, {
  namespace: "shop",
  name: "reviews",
  port: 8080,
  policy: "TrafficPolicy shop/reviews",
  clusters: [{ name: "shop/reviews:8080" }, { name: "shop/reviews:8080/v1" }, { name: "shop/reviews:8080/v2" }],
  routes: [
    {
      name: "rest",
      index: 0,
      matches: [{ path: { type: PathMatchType.PREFIX, value: "/api" } }],
      backends: [{ cluster: 1, weight: 1 }],
    },
    {
      name: "canary",
      index: 1,
      matches: [{ path: { type: PathMatchType.PREFIX, value: "/api" }, headers: [{ name: "x-user", value: "beta" }] }],
      backends: [
        { cluster: 1, weight: 90 },
        { cluster: 2, weight: 10, filters: [{ filter: { case: "requestHeaderModifier", value: { set: [{ name: "x-v", value: "2" }] } } }] },
      ],
      timeouts: { requestMs: 5000 },
      retry: { attempts: 2, codes: [502, 503], backoffMs: 25, budgetPercent: 20, budgetMinPerSecond: 10 },
      faults: { delay: { durationMs: 2000, fraction: { numerator: 1, denominator: 3 } } },
    },
    { name: "gone", index: 2, matches: [{ method: "PATCH" }], backends: [{ cluster: 0, weight: 1, unresolved: true }] },
  ],
});

function view(method: string, target: string, fields: string[] = []): RequestView {
  const result = requestView(method, target, fields);
  assert.ok(!("refused" in result));
  return result;
}

describe("an explanation", () => {
  it("says which match was chosen, which lost and why", () => {
    assert.deepEqual(renderExplanation(trace(document, view("GET", "/x/../api/1?q=2", ["X-User", "beta"]))), [
      "GET /api/1?q=2 to shop/reviews:8080",
      "policy: TrafficPolicy shop/reviews",
      "",
      "matches, in order of precedence:",
      "  → canary, match 0, chosen",
      '      holds  path "/api/1" is under "/api"',
      '      holds  header x-user is "beta"',
      "  · rest, match 0, preceded: the chosen match has more headers",
      '      holds  path "/api/1" is under "/api"',
      '  ✗ gone, match 0, lost: method is "GET", wanted "PATCH"',
      '      fails  method is "GET", wanted "PATCH"',
      "",
      "route canary:",
      "  90 % to shop/reviews:8080/v1",
      "  10 % to shop/reviews:8080/v2",
      "      request headers taken out: x-v",
      "      request header put in: x-v: 2",
      "  timeouts: request 5000 ms",
      "  retries: up to 2 on 502, 503, backoff 25 ms; budget 20 % and 10 a second",
      "  fault: 33.33 % are delayed by 2000 ms",
    ]);
  });
  it("tells an absent header from a different one", () => {
    const reasons = [[], ["x-user", "alpha"]].map((fields) => trace(document, view("GET", "/api", fields)).considered[0]?.reason);
    assert.deepEqual(reasons, ['header x-user is absent, wanted "beta"', 'header x-user is "alpha", wanted "beta"']);
  });
  it("says that nothing matched", () => {
    const explanation = trace(document, view("GET", "/other"));
    assert.deepEqual([explanation.decision, explanation.error], [null, "WEFT_NO_ROUTE"]);
    assert.equal(renderExplanation(explanation).at(-1), "no route matches: answered 404 (WEFT_NO_ROUTE)");
  });
  it("says that the route leads nowhere", () => {
    const explanation = trace(document, view("PATCH", "/other"));
    assert.equal(explanation.error, "WEFT_NO_BACKEND");
    assert.deepEqual(renderExplanation(explanation).slice(-5), [
      "route gone:",
      "  100 % to shop/reviews:8080, does not exist: answered 500",
      "  every request is answered 500 (WEFT_NO_BACKEND)",
      "  timeouts: none",
      "  retries: only what was surely not processed, twice; budget 20 % and 10 a second",
    ]);
  });
  it("says why a policy's retries are not for a POST", () => {
    const explanation = trace(document, view("POST", "/api", ["x-user", "beta"]));
    assert.match(explanation.decision?.retry.note ?? "", /POST is not idempotent/);
    assert.equal(explanation.decision?.retry.attempts, 0);
  });
  it("of a service without routes is short", () => {
    const plain = create(ServiceSchema, { namespace: "shop", name: "db", port: 1, clusters: [{ name: "shop/db:1" }] });
    assert.deepEqual(renderExplanation(trace(plain, view("GET", "/"))), [
      "GET / to shop/db:1",
      "no policy applies",
      "",
      "goes to the service as a whole:",
      "  100 % to shop/db:1",
      "  timeouts: none",
      "  retries: only what was surely not processed, twice; budget 20 % and 10 a second",
    ]);
  });
  it("is plain data", () => {
    const explanation = trace(document, view("GET", "/api", ["x-user", "beta"]));
    assert.deepEqual(JSON.parse(JSON.stringify(explanation)), explanation);
  });
});
