import assert from "node:assert/strict";
import type { KubeObject } from "./kube.ts";
import { checkSchema, nearest, STRUCTURAL_SCHEMAS, WEFT_KINDS, walkSchema } from "./schema-walk.ts";
import type { StructuralSchema } from "./structural.ts";
import type { TrafficPolicy } from "./traffic-policy.ts";

function policy(spec: unknown): KubeObject {
  return { apiVersion: "weft.dev/v1alpha1", kind: "TrafficPolicy", metadata: { name: "reviews", namespace: "shop" }, spec };
}

const targetRefs = [{ group: "", kind: "Service", name: "reviews" }];

describe("the check of a kind", () => {
  it("says nothing of an object that its type allows", () => {
    const typed: TrafficPolicy = {
      apiVersion: "weft.dev/v1alpha1",
      kind: "TrafficPolicy",
      metadata: { name: "reviews" },
      spec: {
        targetRefs: [{ group: "", kind: "Service", name: "reviews" }],
        routes: [{ timeouts: { request: "5s" }, retry: { grpcCodes: ["UNAVAILABLE"] } }],
      },
    };
    assert.deepEqual(checkSchema("TrafficPolicy", typed), []);
  });

  const cases: [string, unknown, string, RegExp, RegExp][] = [
    ["a misspelt field by its nearest", { targetRefs, route: [] }, "spec.route", /nearest is routes/, /did you mean routes\?/],
    [
      "a field like no other by those there are",
      { targetRefs, zzzzzzzz: 1 },
      "spec.zzzzzzzz",
      /known here are targetRefs, subsets/,
      /remove it/,
    ],
    [
      "a misspelt word of an enum by its nearest",
      { targetRefs, loadBalancer: { algorithm: "peak_ewma" } },
      "spec.loadBalancer.algorithm",
      /not one of PeakEWMA/,
      /mean PeakEWMA\?/,
    ],
    ["a missing field by its own path", {}, "spec.targetRefs", /is missing/, /add targetRefs: What the policy is about/],
    ["a value of another type", { targetRefs, routes: {} }, "spec.routes", /must be a list, not a mapping/, /write a list/],
    [
      "a value that was forgotten",
      { targetRefs, routes: null },
      "spec.routes",
      /not empty \(null\)/,
      /give it a value or remove the field/,
    ],
    [
      "a duration without unit",
      { targetRefs, connections: { connectTimeout: 5 } },
      "spec.connections.connectTimeout",
      /must be a text, not 5/,
      /write a text/,
    ],
    [
      "a duration in days with what durations look like",
      { targetRefs, connections: { idleTimeout: "1d" } },
      "spec.connections.idleTimeout",
      /"1d"/,
      /like 1h30m/,
    ],
    ["a number beyond its bounds", { targetRefs, connections: { max: 0 } }, "spec.connections.max", /0 is below 1/, /at least 1/],
    ["an empty list that must not be", { targetRefs: [] }, "spec.targetRefs", /at least 1/, /add one/],
    [
      "a text that is too long",
      { targetRefs, routes: [{ name: "a".repeat(254) }] },
      "spec.routes[0].name",
      /254 characters, at most 253/,
      /shorten/,
    ],
    [
      "a label's value under its key",
      { targetRefs, subsets: [{ name: "a", selector: { matchLabels: { "app.kubernetes.io/v": "-" } } }] },
      "spec.subsets[0].selector.matchLabels[app.kubernetes.io/v]",
      /"-"/,
      /./,
    ],
    [
      "the second of two subsets of one name",
      { targetRefs, subsets: [subset("a"), subset("b"), subset("a")] },
      "spec.subsets[2]",
      /same name \("a"\) stands in \[0\]/,
      /remove/,
    ],
  ];

  function subset(name: string): object {
    return { name, selector: { matchLabels: { v: name } } };
  }

  it.each(cases)("names %s", (_, spec, path, message, remedy) => {
    const problems = checkSchema("TrafficPolicy", policy(spec));
    assert.deepEqual(
      problems.map((problem) => problem.path),
      [path],
    );
    assert.match(problems[0]?.message ?? "", message);
    assert.match(problems[0]?.remedy ?? "", remedy);
  });

  it("tells unknown fields from wrong ones by code", () => {
    const codes = checkSchema("TrafficPolicy", policy({ targetRefs, routes: 1, hosts: [] })).map(({ code }) => code);
    assert.deepEqual(codes, ["WEFT_INVALID_FIELD", "WEFT_UNKNOWN_FIELD"]);
  });

  it("leaves metadata to the API server", () => {
    const object = { ...policy({ targetRefs }), metadata: { name: "x", managedFields: [], anything: { at: "all" } } };
    assert.deepEqual(checkSchema("TrafficPolicy", object), []);
  });

  it("throws on nothing that YAML or JSON can hold", () => {
    const hostile = JSON.parse(
      '{"__proto__": {"routes": []}, "constructor": 1, "toString": {}, "hasOwnProperty": null, "targetRefs": [[[]]]}',
    ) as unknown;
    const deep = Array.from({ length: 10_000 }).reduce<unknown>((inner) => [inner], []);
    for (const spec of [hostile, deep, undefined, null, 0, "", [], Number.NaN]) {
      for (const kind of WEFT_KINDS) assert.ok(checkSchema(kind, policy(spec)).length > 0);
    }
    for (const object of [null, 1, "x", [], undefined]) assert.ok(checkSchema("TrafficPolicy", object as unknown as KubeObject).length > 0);
  });

  it("knows no field by inheritance", () => {
    const paths = checkSchema("TrafficPolicy", policy({ targetRefs, constructor: {}, toString: {} })).map(({ path }) => path);
    assert.deepEqual(paths, ["spec.constructor", "spec.toString"]);
  });

  it("stops at a hundred problems and does not enter lists that are too long", () => {
    const wrong = Array.from({ length: 32 }, () => ({ a: 1, b: 2, c: 3, d: 4, e: 5 }));
    assert.equal(checkSchema("TrafficPolicy", policy({ targetRefs, routes: wrong })).length, 100);
    assert.equal(checkSchema("TrafficPolicy", policy({ targetRefs, routes: Array.from({ length: 100_000 }, () => 1) })).length, 1);
  });
});

describe("a schema's bounds", () => {
  it("count characters, not UTF-16 units", () => {
    const schema: StructuralSchema = { type: "string", minLength: 2, maxLength: 2 };
    assert.deepEqual(walkSchema(schema, "😀😀"), []);
    assert.equal(walkSchema(schema, "😀").length, 1);
    assert.equal(walkSchema(schema, "\ud83d\ud83d\ud83d").length, 1);
  });

  it("take a whole number however it is written, and no other", () => {
    const schema: StructuralSchema = { type: "integer", minimum: 0, maximum: 10 };
    assert.deepEqual(walkSchema(schema, 1.0), []);
    for (const value of [1.5, -1, 11, Number.NaN, Number.POSITIVE_INFINITY, "1", true]) assert.equal(walkSchema(schema, value).length, 1);
  });
});

describe("the patterns of all kinds", () => {
  function patternsOf(schema: StructuralSchema): readonly string[] {
    const below = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties].filter(
      (child) => child !== undefined,
    );
    return [...(schema.pattern === undefined ? [] : [schema.pattern]), ...below.flatMap(patternsOf)];
  }
  const patterns = [...new Set(WEFT_KINDS.flatMap((kind) => patternsOf(STRUCTURAL_SCHEMAS[kind])))];

  it("are at least ten", () => {
    assert.ok(patterns.length >= 10);
  });

  it.each(patterns)("%s takes linear time on 10 kB that almost match", (pattern) => {
    const expression = new RegExp(pattern, "u");
    const units = ["a", "-", "a-", "a.", "/", "/a", "%2", "%20", "*", "/*", ".", "1", "1h", "a/b", "spiffe://a/", "https://a", " ", "/."];
    const started = performance.now();
    for (const unit of units) expression.test(`${unit.repeat(10_000 / unit.length)}\n`);
    // Linear: under 1 ms each. Quadratic: 10^8 steps each, seconds.
    assert.ok(performance.now() - started < 500);
  });
});

describe("the nearest name", () => {
  it.each([
    ["timeout", "timeouts"],
    ["TIMEOUTS", "timeouts"],
    ["retrys", "retry"],
    ["backendRef", "backendRefs"],
    ["match", "matches"],
    ["hosts", null],
    ["x".repeat(1000), null],
    ["", null],
  ])("to %j is %j", (name, expected) => {
    assert.equal(nearest(name, ["name", "matches", "backendRefs", "timeouts", "retry", "filters", "faults", "rateLimit"]), expected);
  });
});
