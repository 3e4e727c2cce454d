import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import type { KubeObject } from "#api/resources/kube.ts";
import { objectTable } from "./object-table.ts";

const BIN = path.resolve(import.meta.dirname, "../bin/weft.js");
const weft = (...args: string[]) => spawnSync(process.execPath, [BIN, ...args], { encoding: "utf8", env: { PATH: "/usr/bin:/bin" } });

describe("the command line", () => {
  const cases: readonly {
    readonly name: string;
    readonly args: readonly string[];
    readonly status: number;
    readonly out: RegExp;
    readonly err: RegExp;
  }[] = [
    { name: "helps on stdout", args: ["--help"], status: 0, out: /run .*<dir>[\s\S]*Exit codes/, err: /^$/ },
    { name: "tells its version and its Node's", args: ["version"], status: 0, out: /^weft \d.*\nnode 26\./, err: /^$/ },
    { name: "answers 2 to an unknown verb", args: ["rnu"], status: 2, out: /^$/, err: /Did you mean run\?/ },
    { name: "answers 2 to a missing argument", args: ["run"], status: 2, out: /^$/, err: /missing required argument 'dir'/ },
    {
      name: "answers 2 to a value that an option does not take",
      args: ["get", "pods", "-o", "xml"],
      status: 2,
      out: /^$/,
      err: /Allowed choices/,
    },
    {
      name: "answers 1 with a remedy where nothing runs",
      args: ["get", "pods", "--state", "/nonexistent"],
      status: 1,
      out: /^$/,
      err: /WEFT_NO_RUN.*weft run DIR/,
    },
    { name: "answers 1 when the folder is not there", args: ["run", "/nonexistent"], status: 1, out: /^$/, err: /there is no folder/ },
    { name: "takes the sidecar's own entry for proxy", args: ["proxy"], status: 2, out: /^$/, err: /usage: weft proxy --bootstrap FILE/ },
  ];
  for (const { name, args, status, out, err } of cases) {
    it(name, () => {
      const result = weft(...args);
      assert.equal(result.status, status, result.stderr);
      assert.match(result.stdout, out);
      assert.match(result.stderr, err);
    });
  }
});

describe("the table of objects", () => {
  const nowMs = Date.UTC(2026, 0, 1, 1);
  const metadata = { name: "reviews", namespace: "shop", creationTimestamp: "2026-01-01T00:00:00Z" };

  it("shows the conditions of a policy and why one says no", () => {
    const conditions = [
      { type: "Accepted", status: "True" },
      { type: "ResolvedRefs", status: "False", reason: "EmptySubset" },
    ];
    const policy: KubeObject = {
      apiVersion: "weft.dev/v1alpha1",
      kind: "TrafficPolicy",
      metadata,
      status: { ancestors: [{ conditions }] },
    };
    assert.deepEqual(objectTable([policy], nowMs), [
      "NAMESPACE  NAME     ACCEPTED  RESOLVED  PROGRAMMED  REASON       AGE",
      "shop       reviews  True      False     -           EmptySubset  60m",
    ]);
  });

  it("is empty without objects", () => {
    assert.deepEqual(objectTable([], nowMs), []);
  });
});
