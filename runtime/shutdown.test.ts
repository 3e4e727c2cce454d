import assert from "node:assert/strict";
import { ManualClock } from "#testing/manual-clock.ts";
import { createLogger } from "./logger.ts";
import { Shutdown } from "./shutdown.ts";

function setUp() {
  const clock = new ManualClock();
  const log: string[] = [];
  return {
    clock,
    log,
    shutdown: new Shutdown(
      clock,
      createLogger((line) => log.push(line), clock, "debug"),
    ),
  };
}

describe("an ordered shutdown", () => {
  it("stops the last started first, one after the other", async () => {
    const { shutdown } = setUp();
    const order: string[] = [];
    for (const name of ["a", "b", "c"]) {
      shutdown.add(name, 1000, async () => {
        await Promise.resolve();
        order.push(name);
      });
    }
    await shutdown.run();
    assert.equal(order.join(), "c,b,a");
  });

  it("passes over a part that throws or rejects, and logs it", async () => {
    const { shutdown, log } = setUp();
    let reached = false;
    shutdown.add("first", 1000, () => {
      reached = true;
    });
    shutdown.add("rejects", 1000, () => Promise.reject(new Error("no")));
    shutdown.add("throws", 1000, () => {
      throw new Error("never");
    });
    await shutdown.run();
    assert.equal(reached, true);
    assert.equal(log.length, 2);
  });

  it("goes on when a part takes longer than it may", async () => {
    const { shutdown, clock, log } = setUp();
    shutdown.add("hangs", 1000, () => new Promise(() => {}));
    const done = shutdown.run();
    clock.advance(1000);
    await done;
    assert.match(log[0] ?? "", /did not stop in time/);
  });

  it("runs once, however often it is asked", async () => {
    const { shutdown } = setUp();
    let stops = 0;
    shutdown.add("a", 1000, () => {
      stops++;
    });
    await Promise.all([shutdown.run(), shutdown.run()]);
    assert.equal(stops, 1);
    assert.equal(shutdown.begun, true);
  });
});
