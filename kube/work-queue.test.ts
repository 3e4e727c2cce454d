import assert from "node:assert/strict";
import fc from "fast-check";
import { ManualClock } from "#testing/manual-clock.ts";
import { quietLogger } from "./test-world.ts";
import { WorkQueue } from "./work-queue.ts";

/** A queue whose work ends when the test says so. */
function queueOf(concurrency = 1) {
  const clock = new ManualClock();
  const begun: string[] = [];
  const open = new Map<string, { end: () => void; fail: () => void }>();
  const work = (key: string) =>
    new Promise<void>((resolve, reject) => {
      begun.push(key);
      open.set(key, { end: resolve, fail: () => reject(new Error("no")) });
    });
  const queue = new WorkQueue({ name: "test", work, concurrency, clock, random: () => 1, logger: quietLogger() });
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  const end = async (key: string): Promise<void> => {
    open.get(key)?.end();
    await settle();
  };
  const fail = async (key: string): Promise<void> => {
    open.get(key)?.fail();
    await settle();
  };
  return { clock, queue, begun, end, fail };
}

describe("a work queue", () => {
  it("works on a key once, however often it is added before its turn", async () => {
    const { queue, begun, end } = queueOf();
    for (const key of ["a", "b", "b", "b", "c"]) queue.add(key);
    await end("a");
    await end("b");
    await end("c");
    assert.deepEqual(begun, ["a", "b", "c"]);
    assert.equal(queue.length, 0);
  });

  it("gives a key that is added during its turn another turn, and never two at once", async () => {
    const { queue, begun, end } = queueOf(4);
    queue.add("a");
    queue.add("a");
    queue.add("a");
    assert.deepEqual(begun, ["a"]);
    await end("a");
    assert.deepEqual(begun, ["a", "a"]);
    await end("a");
    assert.deepEqual([begun.length, queue.length], [2, 0]);
  });

  it("works on as many keys at once as it may", async () => {
    const { queue, begun, end } = queueOf(2);
    for (const key of ["a", "b", "c"]) queue.add(key);
    assert.deepEqual(begun, ["a", "b"]);
    await end("b");
    assert.deepEqual(begun, ["a", "b", "c"]);
  });

  it("tries what failed again, later each time, and at once when it is added anew", async () => {
    const { clock, queue, begun, end, fail } = queueOf();
    queue.add("a");
    for (const ms of [100, 200, 400]) {
      await fail("a");
      clock.advance(ms - 1);
      const before = begun.length;
      clock.advance(1);
      assert.equal(begun.length, before + 1, `after ${ms} ms`);
    }
    await fail("a");
    queue.add("a");
    assert.equal(begun.length, 5);
    await end("a");
    clock.advance(3_600_000);
    assert.equal(begun.length, 5);
  });

  it("begins with short waits again after a success", async () => {
    const { clock, queue, begun, end, fail } = queueOf();
    queue.add("a");
    await fail("a");
    clock.advance(100);
    await end("a");
    queue.add("a");
    await fail("a");
    clock.advance(100);
    assert.equal(begun.length, 4);
  });

  it("keeps the soonest of several waits for a key", () => {
    const { clock, queue, begun } = queueOf();
    queue.addAfter("a", 500);
    queue.addAfter("a", 100);
    queue.addAfter("a", 900);
    clock.advance(100);
    assert.deepEqual(begun, ["a"]);
    assert.equal(clock.pending, 0);
  });

  it("takes nothing more when stopped, and resolves when what is under way has ended", async () => {
    const { clock, queue, begun, end } = queueOf();
    queue.add("a");
    queue.add("b");
    queue.addAfter("c", 10);
    let stopped = false;
    const stop = queue.stop().then(() => {
      stopped = true;
    });
    queue.add("d");
    clock.advance(1000);
    assert.deepEqual([begun, stopped], [["a"], false]);
    await end("a");
    await stop;
    assert.deepEqual([begun, clock.pending], [["a"], 0]);
  });

  it("works at least once after the last addition of each key and never on one key twice at once, in 300 random runs", async () => {
    const steps = fc.array(fc.tuple(fc.constantFrom("add", "end", "fail", "wait"), fc.constantFrom("a", "b", "c")), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const clock = new ManualClock();
        const open = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
        const owed = new Set<string>();
        let twice = 0;
        const work = (key: string) =>
          new Promise<void>((resolve, reject) => {
            if (open.has(key)) twice++;
            owed.delete(key);
            open.set(key, { resolve, reject });
          }).finally(() => open.delete(key));
        const queue = new WorkQueue({ name: "test", work, concurrency: 2, clock, random: () => 0.5, logger: quietLogger() });
        const settle = async (): Promise<void> => {
          for (let i = 0; i < 12; i++) await Promise.resolve();
        };
        for (const [step, key] of script) {
          if (step === "add") {
            owed.add(key);
            queue.add(key);
          } else if (step === "end") open.get(key)?.resolve();
          else if (step === "fail") open.get(key)?.reject(new Error("no"));
          else clock.advance(50);
          await settle();
        }
        for (let i = 0; i < 30 && queue.length > 0; i++) {
          for (const { resolve } of [...open.values()]) resolve();
          await settle();
          clock.advance(60_000);
          await settle();
        }
        assert.deepEqual([[...owed], twice, queue.length], [[], 0, 0]);
      }),
      { numRuns: 300 },
    );
  });
});
