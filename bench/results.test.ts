import assert from "node:assert/strict";
import { measuredOf, resultOf, verdict } from "./results.ts";

const measured = measuredOf("weft", "cpuUsPerRequest", [20, 33, 18], [40, 30, 30]);

describe("what was measured", () => {
  it("has the ratio of each round, and of those the median", () => {
    assert.deepEqual(measured, [
      {
        peer: "weft",
        metric: "cpuUsPerRequest",
        rounds: 3,
        value: { median: 20, min: 18, max: 33 },
        ratio: { median: 0.6, min: 0.5, max: 1.1 },
      },
    ]);
  });

  it("says over how many rounds, when one failed", () => {
    assert.equal(measuredOf("weft", "cpuUsPerRequest", [20, null, 18], [40, 30, 30])[0]?.rounds, 2);
  });

  it("is nothing when every round failed, rather than zero", () => assert.deepEqual(measuredOf("x", "rssMiB", [null], [1]), []));

  it("becomes a line of the results, rounded to thousandths", () => {
    const [line] = measuredOf("weft", "rssMiB", [1 / 3], [1]).map((m) => resultOf("a row", "rss-1000x10", m));
    assert.deepEqual(line, {
      row: "a row",
      workload: "rss-1000x10",
      peer: "weft",
      metric: "rssMiB",
      median: 0.333,
      min: 0.333,
      max: 0.333,
      ratioToEnvoy: 0.333,
      ratioMin: 0.333,
      ratioMax: 0.333,
      rounds: 1,
    });
  });
});

describe("the verdict", () => {
  it("passes at the limit", () => {
    assert.equal(
      verdict({ reference: "envoy-h1", limit: 0.6, aim: 0.5 }, measured),
      "pass: 0.60 of envoy-h1 (0.50 to 1.10), limit 0.6, aim 0.5",
    );
  });

  it("misses above it", () => assert.match(verdict({ reference: "envoy-h1", limit: 0.59 }, measured), /^MISS: 0\.60/));

  it("is none without a reference, rather than a pass", () => {
    assert.match(verdict({ reference: "envoy-h1", limit: 1 }, measuredOf("weft", "rssMiB", [1], [])), /^no verdict/);
  });
});
