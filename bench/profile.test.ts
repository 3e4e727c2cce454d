import assert from "node:assert/strict";
import { type CpuProfile, modulesOf, sharesOf } from "./profile.ts";

const bundle = [
  "var x;",
  "// proxy/telemetry/metrics.ts",
  "count();",
  "// node_modules/@a/b.c/index.mjs",
  "far();",
  "  // a remark, not a module",
  "// proxy/stack/exchange.ts",
  "go();",
];
const modules = modulesOf(bundle.join("\n"));

const frame = (id: number, functionName: string, url: string, lineNumber: number): CpuProfile["nodes"][number] => ({
  id,
  callFrame: { functionName, url, lineNumber },
});

describe("the modules of a bundle", () => {
  it("are found at the remarks that esbuild leaves", () => {
    assert.deepEqual(modules, [
      { line: 1, file: "proxy/telemetry/metrics.ts" },
      { line: 3, file: "node_modules/@a/b.c/index.mjs" },
      { line: 6, file: "proxy/stack/exchange.ts" },
    ]);
  });
});

describe("shares of a profile", () => {
  const nodes = [
    frame(1, "(idle)", "", -1),
    frame(2, "count", "file:///dist/proxy.js", 2),
    frame(3, "go", "file:///dist/proxy.js", 7),
    frame(4, "(garbage collector)", "", -1),
    frame(5, "writeBuffer", "", -1),
  ];

  it("are of the busy time only, by the folder of the source", () => {
    const shares = sharesOf({ nodes, samples: [1, 2, 3, 3, 4, 5], timeDeltas: [500, 10, 20, 20, 10, 40] }, modules);
    assert.deepEqual(
      shares.map(({ part, share }) => [part, Math.round(share * 100)]),
      [
        ["the exchange", 40],
        ["Node's and the kernel's native code: sockets, TLS, buffers", 40],
        ["metrics", 10],
        ["garbage collection", 10],
      ],
    );
  });
});
