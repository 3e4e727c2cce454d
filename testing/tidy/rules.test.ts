import assert from "node:assert/strict";
import { graphOf, importsOf, violations } from "./graph.ts";
import { blank } from "./sources.ts";
import { BANS, conditionalAssertions, offences } from "./words.ts";

/** The rules, tried on sources made up for them: each finds what it is for, and nothing else. */

describe("blanking", () => {
  const cases: readonly { name: string; source: string; words: string }[] = [
    { name: "a comment to the end of its line", source: "a; // b\nc", words: "a;     \nc" },
    { name: "a comment over lines, keeping them", source: "a/*b\nc*/d", words: "a   \n   d" },
    { name: "what a string holds", source: 'f("a//b", x)', words: 'f("    ", x)' },
    { name: "an escaped mark in a string", source: '"a\\"b" + c', words: '"    " + c' },
    { name: "a template, but not the code in it", source: "`a ${b(`c`)} d` + e", words: "`  ${b(` `)}  ` + e" },
    { name: "a regular expression with a slash in a class", source: 'x = /a[/]"b/g; y', words: "x = /      /g; y" },
    { name: "nothing of a division", source: "a / b / c", words: "a / b / c" },
  ];
  for (const { name, source, words } of cases) it(`hides ${name}`, () => assert.equal(blank(source).words, words));
});

describe("the imports of a file", () => {
  it("are found in every form, types included, and resolved", () => {
    const source = [
      'import fs from "node:fs/promises";',
      'import { a, type B } from "#api/x.ts";',
      'import type { C } from "../y.ts";',
      'export * from "./z.ts";',
      'import "reflect-metadata";',
      'const d = await import("@scope/pack/deep");',
      'let e: import("#ca/t.ts").T;',
      '// import f from "./no.ts";',
      `const g = 'import h from "./neither.ts"';`,
    ].join("\n");
    assert.deepEqual(importsOf("proxy/stack/q.ts", source), [
      "node:fs",
      "api/x.ts",
      "proxy/y.ts",
      "proxy/stack/z.ts",
      "reflect-metadata",
      "@scope/pack",
      "ca/t.ts",
    ]);
  });
});

describe("a forbidden edge", () => {
  const graph = graphOf(
    new Map([
      ["a/one.ts", 'import "#b/two.ts";'],
      ["b/two.ts", 'import type { T } from "#c/three.ts"; import "./four.ts";'],
      ["b/four.ts", ""],
      ["c/three.ts", 'import "#c/five.ts";'],
      ["c/five.ts", 'import "#b/two.ts";'],
    ]),
  );

  it("is found however long the way, and told with it", () => {
    assert.deepEqual(violations(graph, { from: /^a\//, to: /^c\//, why: "so" }), ["a/one.ts → b/two.ts → c/three.ts: so"]);
  });

  it("is not found where there is an exception", () => {
    assert.deepEqual(violations(graph, { from: /^a\//, to: /^c\//, except: /three|five/, why: "so" }), []);
  });

  it("is not found where nothing leads", () => {
    assert.deepEqual(violations(graph, { from: /^b\/four/, to: /./, why: "so" }), []);
  });
});

describe("banned words", () => {
  const note = `// ${"TO"}DO`;
  const cases: readonly { name: string; file: string; bad: string; good: string }[] = [
    { name: "Date.now()", file: "mesh/x.ts", bad: "const t = Date.now();", good: 'const t = "Date.now()"; // Date.now()' },
    { name: "performance.now()", file: "proxy/x.ts", bad: "performance.now()", good: "clock.monotonicMs()" },
    { name: "timers in production code", file: "proxy/shell/x.ts", bad: "setTimeout(f, 1)", good: "socket.setTimeout(1)" },
    { name: "the event loop in a pure room", file: "mesh/decide/x.ts", bad: "queueMicrotask(f)", good: "queue.queueMicrotask(f)" },
    { name: "Math.random()", file: "proxy/balance/x.ts", bad: "Math.random()", good: "random()" },
    { name: "localeCompare", file: "mesh/plan/x.ts", bad: "a.localeCompare(b)", good: "byteOrder(a, b)" },
    { name: "process.env and process.exit", file: "proxy/x.ts", bad: "process.exit(1)", good: "process.pid" },
    { name: "tests that are left out", file: "a/x.test.ts", bad: "it.only('x', f)", good: "it('only', f)" },
    {
      name: "sleeps in tests",
      file: "a/x.test.ts",
      bad: `await new Promise((r) => ${"setTimeout"}(r, 9))`,
      good: "await until(() => ready)",
    },
    { name: "notes to oneself", file: "a/x.ts", bad: note, good: "// done" },
    { name: "paths of one machine", file: "a.md", bad: `see /${"home"}/me/x`, good: "see ~/x and a/home/x" },
    { name: "hosts of package registries", file: "package-lock.json", bad: `"resolved": "${"http"}s://x"`, good: '"integrity": "x"' },
    {
      name: "credentials",
      file: "a.pem",
      bad: `-----BEGIN ${"PRIVATE"} KEY-----\n${"MIGH".repeat(6)}`,
      good: "-----BEGIN CERTIFICATE-----",
    },
  ];

  for (const { name, file, bad, good } of cases) {
    it(`are found where they are meant: ${name}`, () => {
      const ban = BANS.find((one) => one.name === name);
      assert.ok(ban);
      assert.deepEqual([offences(ban, file, bad).length, offences(ban, file, good).length], [1, 0]);
    });
  }

  it("each have a case here", () => {
    assert.deepEqual(
      cases.map(({ name }) => name),
      BANS.map(({ name }) => name),
    );
  });

  const skippable: readonly { name: string; source: string; found: number }[] = [
    { name: "in a block", source: "if (a) { b(); expect(c).toBe(d); }", found: 1 },
    { name: "as the only statement", source: "if (a(b)) assert.equal(c, d); expect(e).toBe(f);", found: 1 },
    { name: "in an else", source: "if (a) b(); else { assert(c); }", found: 1 },
    { name: "in a catch", source: "try { a(); } catch (e) { assert.equal(e.code, 1); }", found: 1 },
    { name: "that is the branch itself", source: "if (a !== b) assert.fail(a);", found: 0 },
    { name: "beside a branch", source: "if (a) { b(); }\nassert.equal(c, d);", found: 0 },
    { name: "in a callback of a condition's own value", source: "const x = list.filter((y) => y.if); assert.ok(x);", found: 0 },
  ];
  it("include one in a test of a table, and none in a function beside the tests", () => {
    const branch = "if (a) assert.ok(b);";
    const each = conditionalAssertions("a/x.test.ts", `it.each(T)("says %s", () => { ${branch} });`);
    const beside = conditionalAssertions("a/x.test.ts", `function parse() { ${branch} }`);
    assert.deepEqual([each.length, beside.length], [1, 0]);
  });

  for (const { name, source, found } of skippable) {
    it(`include an assertion ${name}: ${found}`, () => {
      assert.equal(conditionalAssertions("a/x.test.ts", `it("says", () => { ${source} });`).length, found);
    });
  }
});
