import assert from "node:assert/strict";
import { DECAY_MS, DEFAULT_RTT_MS, FAILURE_RTT_MS, Load } from "./load.ts";
import { PeakEwmaPicker, type Picker, RoundRobinPicker } from "./picker.ts";

const seeded = (seed: number) => () => {
  seed = (seed * 1664525 + 1013904223) >>> 0;
  return seed / 2 ** 32;
};
const endpoint = (name: string, ready = true) => ({ name, load: new Load(), ready });
const never = (): number => {
  throw new Error("random was asked");
};

describe("the load of an endpoint", () => {
  it("costs nothing before its first request, and much while the first answer is awaited", () => {
    const load = new Load();
    assert.equal(load.cost(0), 0);
    load.inFlight = 2;
    assert.equal(load.cost(0), 2 * DEFAULT_RTT_MS);
  });
  it("rises at once to a slower answer", () => {
    const load = new Load();
    load.observe(0, 10);
    load.observe(1, 200);
    assert.equal(load.estimate(1), 200);
  });
  it("falls over the decay time to faster answers", () => {
    const load = new Load();
    load.observe(0, 200);
    load.observe(DECAY_MS, 10);
    const expected = 200 * Math.exp(-1) + 10 * (1 - Math.exp(-1));
    assert.ok(Math.abs(load.estimate(DECAY_MS) - expected) < 1e-9);
  });
  it("multiplies by the requests in flight", () => {
    const load = new Load();
    load.observe(0, 10);
    load.inFlight = 3;
    assert.equal(load.cost(0), 40);
  });
  it("counts a failure as a very slow answer, because a fast failure must not attract load", () => {
    const load = new Load();
    load.observe(0, 1);
    load.fail(1);
    assert.equal(load.estimate(1), FAILURE_RTT_MS);
  });
});

describe.each<[string, () => Picker]>([
  ["Peak EWMA", () => new PeakEwmaPicker()],
  ["round robin", () => new RoundRobinPicker()],
])("every picker, here %s,", (_name, make) => {
  it("picks nothing from nothing", () => {
    assert.equal(make().pick([], [], 0, never), undefined);
  });
  it("picks the only one, even when it was tried", () => {
    const a = endpoint("a");
    assert.equal(make().pick([a], [a], 0, seeded(1)), a);
  });
  it("never picks one that is not ready", () => {
    const list = [endpoint("a", false), endpoint("b"), endpoint("c", false)];
    const picker = make();
    const random = seeded(2);
    const names = new Set(Array.from({ length: 50 }, () => picker.pick(list, [], 0, random)?.name));
    assert.deepEqual([...names], ["b"]);
  });
  it("avoids those that were tried", () => {
    const list = [endpoint("a"), endpoint("b"), endpoint("c")];
    const picker = make();
    const random = seeded(3);
    const names = new Set(Array.from({ length: 50 }, () => picker.pick(list, [list[0]!, list[2]!], 0, random)?.name));
    assert.deepEqual([...names], ["b"]);
  });
  it("spreads over equal endpoints", () => {
    const list = [endpoint("a"), endpoint("b"), endpoint("c"), endpoint("d")];
    const picker = make();
    const random = seeded(4);
    const counts = new Map<string, number>();
    for (let i = 0; i < 4000; i++) {
      const name = picker.pick(list, [], 0, random)?.name ?? "";
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    // Equal costs leave the first of the two drawn, which is uniform.
    assert.ok(
      [...counts.values()].every((n) => Math.abs(n - 1000) < 150),
      JSON.stringify([...counts]),
    );
  });
});

describe("Peak EWMA", () => {
  it("sends most requests to the faster of two", () => {
    const fast = endpoint("fast");
    const slow = endpoint("slow");
    fast.load.observe(0, 2);
    slow.load.observe(0, 50);
    const picker = new PeakEwmaPicker();
    const random = seeded(5);
    assert.ok(Array.from({ length: 100 }, () => picker.pick([fast, slow], [], 0, random)).every((e) => e === fast));
  });
});
