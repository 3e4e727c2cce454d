import assert from "node:assert/strict";
import { readH2load } from "./h2load.ts";

interface Counts {
  readonly done?: number;
  readonly good?: number;
  readonly bad?: number;
  readonly data?: number;
  readonly took?: string;
}

/** The summary of 100 requests, all of them well unless said otherwise. */
function summary({ done = 100, good = 100, bad = 0, data = 102_400, took = "1.00s" }: Counts): string {
  return `
finished in ${took}, 24390.24 req/s, 28.95MB/s
requests: 100 total, 100 started, ${done} done, ${good} succeeded, ${100 - good} failed, 0 errored, 0 timeout
status codes: ${good} 2xx, 0 3xx, 0 4xx, ${bad} 5xx
traffic: 119.14KB (122000) total, 19.14KB (19600) headers (space savings 0.00%), 100.00KB (${data}) data
`;
}

describe("h2load's summary", () => {
  const times = [
    ["4.10s", 4.1],
    ["410.00ms", 0.41],
    ["950us", 0.00095],
  ] as const;
  for (const [took, seconds] of times) {
    it(`is read with its unit: ${took}`, () => assert.ok(Math.abs(readH2load(summary({ took }), 100).seconds - seconds) < 1e-12));
  }

  it("is good without counted statuses when all bodies came, because h2load skips answers without a reason phrase", () => {
    assert.equal(readH2load(summary({ good: 0 }), 100).done, 100);
  });

  const refused: readonly (readonly [string, string])[] = [
    ["an answer was no 2xx, because errors are cheap", summary({ good: 99, bad: 1 })],
    ["a request was lost", summary({ done: 98 })],
    ["no status was counted and a body is missing", summary({ good: 0, data: 101_376 })],
    ["all were refused", summary({ good: 0, bad: 100 })],
    ["it says nothing", ""],
  ];
  for (const [why, text] of refused)
    it(`is no measurement when ${why}`, () => assert.throws(() => readH2load(text, 100), /of 100 requests/));
});
