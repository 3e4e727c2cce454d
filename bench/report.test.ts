import assert from "node:assert/strict";
import { type ReportedRow, table } from "./report.ts";
import { measuredOf, resultOf } from "./results.ts";

const row: ReportedRow = { number: "1", title: "a hop", workload: "plain-hop", threshold: { reference: "envoy-h1", limit: 0.9 } };
const line = (peer: string, value: number, reference: number[]) =>
  measuredOf(peer, "cpuUsPerRequest", [value], reference).map((m) => resultOf("1 a hop", "plain-hop", m));

describe("the table of a row", () => {
  it("has a line for each peer, and says that the threshold is met", () => {
    assert.deepEqual(table(row, [...line("weft", 18, [36]), ...line("envoy-h1", 36, [36])]), [
      `### Row 1 a hop

Threshold: at most 0.9 of envoy-h1: met. 1 round.

| peer | median (least – most) | ÷ envoy-h1 |
|---|---|---|
| **weft** | CPU µs 18.0 (18.0 – 18.0) | 0.50 (0.50 – 0.50) |
| envoy-h1 | CPU µs 36.0 (36.0 – 36.0) | 1.00 (1.00 – 1.00) |`,
    ]);
  });

  it("says as plainly that it is missed", () => assert.match(table(row, line("weft", 40, [36]))[0] ?? "", /envoy-h1: \*\*missed\*\*/));
  it("claims nothing without the reference", () => assert.match(table(row, line("weft", 18, []))[0] ?? "", /: not measured\./));
  it("is not there for a row that was never measured", () => assert.deepEqual(table(row, []), []));
  it("holds no figure of another row of the same workload", () =>
    assert.deepEqual(table({ ...row, title: "another" }, line("weft", 1, [1])), []));
});
