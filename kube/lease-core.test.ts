import assert from "node:assert/strict";
import fc from "fast-check";
import { ELECTION_TIMES, ElectionCore, type LeaseRecord, type Stored } from "./lease-core.ts";

const WALL = Date.UTC(2026, 0, 1);

function heldBy(holder: string, resourceVersion = "1", durationSeconds = 15): Stored {
  const record: LeaseRecord = { holder, durationSeconds, acquireTime: "", renewTime: "", transitions: 3 };
  return { record, resourceVersion };
}

const core = (identity = "me"): ElectionCore => new ElectionCore(identity, ELECTION_TIMES, () => 0);

describe("a candidate", () => {
  it("makes the lease when there is none, and leads only when the server confirmed that", () => {
    const me = core();
    const step = me.observed(null, 0, WALL);
    assert.deepEqual(step, {
      do: "create",
      record: {
        holder: "me",
        durationSeconds: 15,
        acquireTime: "2026-01-01T00:00:00.000000Z",
        renewTime: "2026-01-01T00:00:00.000000Z",
        transitions: 0,
      },
    });
    assert.equal(me.leads(0), false);
    me.written("1", 0);
    assert.equal(me.leads(0), true);
  });

  it("leads for ten seconds from when its renewal was begun, not from when it was confirmed", () => {
    const me = core();
    me.observed(null, 0, WALL);
    me.written("1", 1000);
    assert.deepEqual([me.leads(10_999), me.leads(11_000)], [true, false]);
    me.written("2", 100);
    assert.deepEqual([me.leads(10_099), me.leads(10_100)], [true, false]);
  });

  it("waits until the other's record has not changed for as long as the record says, by its own clock", () => {
    const me = core();
    assert.deepEqual(me.observed(heldBy("other"), 0, WALL), { do: "wait" });
    assert.deepEqual(me.observed(heldBy("other"), 14_999, WALL), { do: "wait" });
    assert.equal(me.observed(heldBy("other"), 15_000, WALL).do, "update");
  });

  it("begins to count anew with every renewal that it sees", () => {
    const me = core();
    me.observed(heldBy("other", "1"), 0, WALL);
    me.observed(heldBy("other", "2"), 14_000, WALL);
    assert.equal(me.observed(heldBy("other", "2"), 28_999, WALL).do, "wait");
    assert.equal(me.observed(heldBy("other", "2"), 29_000, WALL).do, "update");
  });

  it("does not care what the wall clock says, its own or the holder's", () => {
    const me = core();
    assert.equal(me.observed(heldBy("other"), 0, WALL).do, "wait");
    assert.equal(me.observed(heldBy("other"), 1000, WALL + 365 * 86_400_000).do, "wait");
  });

  it("takes a lease that was given up at once, counts the transition, and asks for the revision that it saw", () => {
    const step = core().observed(heldBy("", "7", 1), 0, WALL);
    assert.deepEqual(step.do === "update" && [step.record.holder, step.record.transitions, step.resourceVersion], ["me", 4, "7"]);
  });

  it("goes on with a lease that is its own, as after a lost answer", () => {
    const step = core().observed(heldBy("me"), 0, WALL);
    assert.deepEqual(step.do === "update" && step.record.transitions, 3);
  });

  it("ceases to lead the moment that it sees another's name", () => {
    const me = core();
    me.observed(null, 0, WALL);
    me.written("1", 0);
    me.observed(heldBy("other", "2"), 1000, WALL);
    assert.equal(me.leads(1000), false);
  });

  it("gives up only what it holds, and does not lead from that moment", () => {
    const me = core();
    assert.equal(me.release(0, WALL), null);
    me.observed(null, 0, WALL);
    me.written("5", 0);
    const given = me.release(1, WALL);
    assert.deepEqual([given?.record.holder, given?.record.durationSeconds, given?.resourceVersion, me.leads(1)], ["", 1, "5", false]);
  });

  it("cannot be told to lead longer than others wait", () => {
    assert.throws(() => new ElectionCore("me", { leaseMs: 10, renewDeadlineMs: 10, retryMs: 1 }, () => 0));
  });
});

describe("an election", () => {
  /** Candidates against one store, with requests that take their time or are lost, pauses, and clocks of unequal pace and origin. */
  class World {
    nowMs = 0;
    stored: Stored = null;
    #revision = 0;
    readonly candidates: {
      readonly core: ElectionCore;
      readonly pace: number;
      readonly originMs: number;
      nextMs: number;
      pausedUntilMs: number;
    }[];
    #pending: { readonly atMs: number; readonly run: () => void }[] = [];

    constructor(paces: readonly number[]) {
      this.candidates = paces.map((pace, i) => ({
        core: new ElectionCore(`c${i}`, ELECTION_TIMES, () => 0.5),
        pace,
        originMs: i * 1e6,
        nextMs: i * 100,
        pausedUntilMs: 0,
      }));
    }

    local(index: number): number {
      const { pace, originMs } = this.candidates[index]!;
      return originMs + this.nowMs * pace;
    }

    leaders(): number {
      // A paused process makes no writes; what it believes then does no harm.
      return this.candidates.filter((one, i) => one.pausedUntilMs <= this.nowMs && one.core.leads(this.local(i))).length;
    }

    /** Read, decide, write: each leg takes `delays` and may be lost. */
    attempt(index: number, [readMs, thereMs, backMs]: readonly [number, number, number], lost: boolean): void {
      const { core } = this.candidates[index]!;
      this.#later(readMs, () => {
        const step = core.observed(this.stored, this.local(index), WALL);
        if (step.do === "wait") return;
        const begunMs = this.local(index);
        this.#later(thereMs, () => {
          const expected = step.do === "update" ? step.resourceVersion : undefined;
          if (this.stored?.resourceVersion !== expected) return;
          const resourceVersion = String(++this.#revision);
          this.stored = { record: step.record, resourceVersion };
          if (!lost) this.#later(backMs, () => core.written(resourceVersion, begunMs));
        });
      });
    }

    #later(ms: number, run: () => void): void {
      this.#pending.push({ atMs: this.nowMs + ms, run });
    }

    step(ms: number): void {
      this.nowMs += ms;
      const due = this.#pending.filter(({ atMs }) => atMs <= this.nowMs);
      this.#pending = this.#pending.filter(({ atMs }) => atMs > this.nowMs);
      for (const { run } of due) run();
    }
  }

  const delays = fc.tuple(fc.integer({ min: 0, max: 6000 }), fc.integer({ min: 0, max: 6000 }), fc.integer({ min: 0, max: 12_000 }));
  const turn = fc.record({ delays, lost: fc.boolean(), pauseMs: fc.constantFrom(0, 0, 0, 8000, 40_000) });

  it("never has two leaders, with slow and lost answers, pauses, and clocks that differ by up to a fifth in pace", () => {
    fc.assert(
      fc.property(
        fc.array(turn, { minLength: 20, maxLength: 200 }),
        fc.constantFrom([1, 1, 1], [1.2, 1, 1], [1, 1.2, 1.1]),
        (turns, paces) => {
          const world = new World(paces);
          let next = 0;
          for (let tick = 0; tick < 2400; tick++) {
            world.step(50);
            assert.ok(world.leaders() <= 1, `two leaders at ${world.nowMs} ms`);
            for (const [index, candidate] of world.candidates.entries()) {
              if (candidate.nextMs > world.nowMs || candidate.pausedUntilMs > world.nowMs) continue;
              const { delays: legs, lost, pauseMs } = turns[next++ % turns.length]!;
              candidate.nextMs = world.nowMs + 2000;
              world.attempt(index, legs, lost);
              if (pauseMs > 0) candidate.pausedUntilMs = world.nowMs + pauseMs;
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("has a leader again within 20 s of the loss of one, while answers come", () => {
    const world = new World([1, 1]);
    let leaderlessMs = 0;
    let longestMs = 0;
    for (let tick = 0; tick < 4000; tick++) {
      world.step(50);
      leaderlessMs = world.leaders() === 0 ? leaderlessMs + 50 : 0;
      longestMs = Math.max(longestMs, leaderlessMs);
      for (const [index, candidate] of world.candidates.entries()) {
        // The first is gone for good after a minute.
        if (candidate.nextMs > world.nowMs || (index === 0 && world.nowMs > 60_000)) continue;
        candidate.nextMs = world.nowMs + 2000;
        world.attempt(index, [10, 10, 10], false);
      }
    }
    assert.ok(longestMs > 0 && longestMs <= 20_000, `${longestMs} ms`);
  });
});
