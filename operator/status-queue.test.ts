import assert from "node:assert/strict";
import type { ObjectRef } from "#api/store.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { StatusQueue } from "./status-queue.ts";
import { quietLogger } from "./test-operator.ts";

const ref = (name: string): ObjectRef => ({ apiVersion: "weft.dev/v1alpha1", kind: "TrafficPolicy", namespace: "shop", name, uid: name });

function setUp() {
  const clock = new ManualClock();
  const writes: { atMs: number; name: string; status: unknown }[] = [];
  const fail = { now: false };
  const writer = {
    write: async (to: ObjectRef, status: unknown) => {
      if (fail.now) throw new Error("down");
      writes.push({ atMs: clock.monotonicMs(), name: to.name, status });
    },
  };
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(Math.min(10, left));
      for (let n = 0; n < 4; n++) await Promise.resolve();
    }
  };
  return { clock, writes, fail, pass, queue: new StatusQueue(writer, clock, quietLogger()) };
}

describe("the status queue", () => {
  it("writes at once, and the newest of what came within the second after it", async () => {
    const { queue, writes, pass } = setUp();
    queue.put("a", ref("a"), 1);
    await pass(10);
    queue.put("a", ref("a"), 2);
    queue.put("a", ref("a"), 3);
    await pass(900);
    assert.equal(writes.length, 1);
    await pass(200);
    assert.deepEqual(
      writes.map((w) => w.status),
      [1, 3],
    );
  });

  it("writes at most twenty a second, and all in the end", async () => {
    const { queue, writes, pass } = setUp();
    for (let n = 0; n < 100; n++) queue.put(`k${n}`, ref(`k${n}`), n);
    await pass(10);
    assert.equal(writes.length, 20);
    await pass(1000);
    assert.ok(writes.length <= 41, String(writes.length));
    await pass(4000);
    assert.equal(new Set(writes.map((w) => w.name)).size, 100);
  });

  it("tries again after a failure, ever more slowly, with the newest", async () => {
    const { queue, writes, fail, pass } = setUp();
    fail.now = true;
    queue.put("a", ref("a"), 1);
    await pass(3500);
    queue.put("a", ref("a"), 2);
    fail.now = false;
    await pass(3000);
    assert.equal(writes.length, 0);
    await pass(1000);
    assert.deepEqual(
      writes.map((w) => w.status),
      [2],
    );
  });

  it("drops what waits for an object that is gone, and leaves no timer", async () => {
    const { queue, writes, pass, clock } = setUp();
    queue.put("a", ref("a"), 1);
    await pass(10);
    queue.put("a", ref("a"), 2);
    queue.drop("a");
    await pass(5000);
    assert.equal(writes.length, 1);
    assert.equal(clock.pending, 0);
  });
});
