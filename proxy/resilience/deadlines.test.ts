import assert from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "#testing/manual-clock.ts";
import { Deadline, Deadlines, SLOT_MS } from "./deadlines.ts";

describe("the timing wheel", () => {
  it("fires each deadline once, never early and at most two slots late", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 40_000 }), { minLength: 1, maxLength: 50 }), (delays) => {
        const clock = new ManualClock();
        const wheel = new Deadlines(clock);
        const fired: number[][] = delays.map(() => []);
        for (const [i, delay] of delays.entries()) wheel.arm(new Deadline(() => fired[i]?.push(clock.monotonicMs())), delay);
        clock.advance(45_000);
        delays.forEach((delay, i) => {
          assert.equal(fired[i]?.length, 1);
          assert.ok(fired[i][0]! >= delay && fired[i][0]! <= delay + 2 * SLOT_MS, `${delay} fired at ${fired[i][0]}`);
        });
      }),
      { seed: 7, numRuns: 100 },
    );
  });
  it("does not fire what was cancelled, and keeps no timer when nothing is armed", () => {
    const clock = new ManualClock();
    const wheel = new Deadlines(clock);
    let fired = 0;
    const d = new Deadline(() => fired++);
    wheel.arm(d, 100);
    wheel.cancel(d);
    clock.advance(10_000);
    assert.equal(fired, 0);
    assert.equal(clock.pending, 0);
  });
  it("moves a deadline that is armed again", () => {
    const clock = new ManualClock();
    const wheel = new Deadlines(clock);
    const fired: number[] = [];
    const d = new Deadline(() => fired.push(clock.monotonicMs()));
    wheel.arm(d, 100);
    clock.advance(50);
    wheel.arm(d, 1000);
    clock.advance(5000);
    assert.equal(fired.length, 1);
    assert.ok(fired[0]! >= 1050 && fired[0]! <= 1090);
  });
  it("lets one deadline cancel another of the same slot", () => {
    const clock = new ManualClock();
    const wheel = new Deadlines(clock);
    const fired: string[] = [];
    const a: Deadline = new Deadline(() => {
      fired.push("a");
      wheel.cancel(b);
    });
    const b: Deadline = new Deadline(() => {
      fired.push("b");
      wheel.cancel(a);
    });
    wheel.arm(a, 100);
    wheel.arm(b, 100);
    clock.advance(1000);
    assert.equal(fired.length, 1);
  });
});
