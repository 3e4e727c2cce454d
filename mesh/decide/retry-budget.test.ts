import assert from "node:assert/strict";
import fc from "fast-check";
import { RetryBudget } from "./retry-budget.ts";

/** How many withdrawals succeed at once. */
function drain(budget: RetryBudget, nowMs: number): number {
  let n = 0;
  while (n < 100_000 && budget.withdraw(nowMs)) n++;
  return n;
}

function deposit(budget: RetryBudget, nowMs: number, times: number): void {
  for (let i = 0; i < times; i++) budget.deposit(nowMs);
}

describe("a retry budget", () => {
  it("allows its share of the requests", () => {
    const budget = new RetryBudget({ percent: 20, minPerSecond: 0 }, 0);
    deposit(budget, 0, 1000);
    assert.equal(drain(budget, 0), 200);
  });
  it("allows nothing before there were requests, without a minimum", () => {
    const budget = new RetryBudget({ percent: 20, minPerSecond: 0 }, 0);
    assert.equal(drain(budget, 0), 0);
    deposit(budget, 0, 4);
    assert.equal(drain(budget, 0), 0);
    deposit(budget, 0, 1);
    assert.equal(drain(budget, 0), 1);
  });
  it("allows its minimum of ten seconds at once, and no more for ten seconds", () => {
    const budget = new RetryBudget({ percent: 0, minPerSecond: 10 }, 5000);
    assert.equal(drain(budget, 5000), 100);
    assert.equal(drain(budget, 14_999), 0);
    assert.equal(drain(budget, 15_000), 100);
  });
  it("forgets requests after ten seconds", () => {
    const budget = new RetryBudget({ percent: 20, minPerSecond: 0 }, 0);
    deposit(budget, 0, 1000);
    deposit(budget, 5000, 10);
    assert.equal(drain(budget, 10_000), 2);
  });
  it("keeps requests for all of nine seconds", () => {
    const budget = new RetryBudget({ percent: 20, minPerSecond: 0 }, 0);
    deposit(budget, 999, 10);
    assert.equal(drain(budget, 9999), 2);
  });
  it("is none at all when both limits are 0", () => {
    const budget = new RetryBudget({ percent: 0, minPerSecond: 0 }, 0);
    deposit(budget, 0, 1000);
    assert.equal(budget.withdraw(0), false);
  });
  it("takes a time that goes back for the newest it saw", () => {
    const budget = new RetryBudget({ percent: 100, minPerSecond: 0 }, 50_000);
    deposit(budget, 50_000, 3);
    deposit(budget, 1000, 2);
    assert.equal(drain(budget, 0), 5);
  });
  it("is the same after its state was taken out and put in again, however long it slept", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat({ max: 4000 }), fc.boolean()), { maxLength: 60 }), fc.nat({ max: 15_000 }), (steps, sleepMs) => {
        const limits = { percent: 30, minPerSecond: 1 };
        const budget = new RetryBudget(limits, 0);
        let nowMs = 0;
        for (const [afterMs, request] of steps) {
          nowMs += afterMs;
          request ? budget.deposit(nowMs) : budget.withdraw(nowMs);
        }
        const state = budget.state();
        const copy = new RetryBudget(limits, nowMs, state);
        assert.deepEqual(copy.state(), state);
        assert.equal(drain(copy, nowMs + sleepMs), drain(budget, nowMs + sleepMs));
      }),
      { numRuns: 500, seed: 10 },
    );
  });
  it("never allows more in any ten seconds than its share of them plus its minimum", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: 900 }), fc.nat({ max: 5 }), fc.nat({ max: 9 })), { minLength: 1, maxLength: 80 }),
        (steps) => {
          const budget = new RetryBudget({ percent: 50, minPerSecond: 1 }, 0);
          const spent: number[] = [];
          const brought: number[] = [];
          let nowMs = 0;
          for (const [afterMs, requests, retries] of steps) {
            nowMs += afterMs;
            const second = Math.floor(nowMs / 1000);
            deposit(budget, nowMs, requests);
            brought[second] = (brought[second] ?? 0) + requests;
            for (let i = 0; i < retries; i++) spent[second] = (spent[second] ?? 0) + (budget.withdraw(nowMs) ? 1 : 0);
          }
          const sum = (list: number[], from: number, to: number) =>
            list.slice(Math.max(0, from), to).reduce((total, n) => total + (n ?? 0), 0);
          for (let end = 1; end <= spent.length; end++) {
            // What was brought in the window before may be spent in this one.
            assert.ok(sum(spent, end - 10, end) <= sum(brought, end - 19, end) / 2 + 10, `window ending with second ${end}`);
          }
        },
      ),
      { numRuns: 300, seed: 11 },
    );
  });
});
