import assert from "node:assert/strict";
import type { ObjectRef } from "#api/store.ts";
import { quietLogger, until } from "#kube/test-world.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { LeaderStatusWriter } from "./leader-status.ts";

const ref = (name: string): ObjectRef => ({ apiVersion: "weft.dev/v1alpha1", kind: "TrafficPolicy", namespace: "shop", name, uid: name });

function replica() {
  const written: string[] = [];
  const clock = new ManualClock();
  const state = { leads: false, fails: false };
  const writer = {
    write: async ({ name }: ObjectRef, status: unknown): Promise<void> => {
      if (state.fails) throw new Error("no");
      written.push(`${name}=${status}`);
    },
  };
  const statuses = new LeaderStatusWriter({ writer, leads: () => state.leads, clock, random: () => 0, logger: quietLogger() });
  return { statuses, written, state, clock };
}

describe("a status", () => {
  it("is written by the leader at once", async () => {
    const { statuses, written, state } = replica();
    state.leads = true;
    await statuses.write(ref("a"), 1);
    assert.deepEqual(written, ["a=1"]);
  });

  it("is kept by the others, the newest of each object, and written when one of them comes to lead", async () => {
    const { statuses, written, state } = replica();
    await statuses.write(ref("a"), 1);
    await statuses.write(ref("b"), 1);
    await statuses.write(ref("a"), 2);
    assert.deepEqual(written, []);
    state.leads = true;
    statuses.flush();
    await until("both are written", () => written.length === 2);
    statuses.flush();
    assert.deepEqual(written.sort(), ["a=2", "b=1"]);
  });

  it("is not written over a newer one that the new leader wrote first", async () => {
    const { statuses, written, state } = replica();
    await statuses.write(ref("a"), 1);
    state.leads = true;
    await statuses.write(ref("a"), 2);
    statuses.flush();
    await statuses.stop();
    assert.deepEqual(written, ["a=2"]);
  });

  it("is kept for the next time when this replica ceases to lead before it was written", async () => {
    const { statuses, written, state, clock } = replica();
    await statuses.write(ref("a"), 1);
    state.leads = true;
    state.fails = true;
    statuses.flush();
    await until("it was tried", () => clock.pending > 0);
    Object.assign(state, { leads: false, fails: false });
    clock.advance(60_000);
    assert.deepEqual(written, []);
    state.leads = true;
    statuses.flush();
    await until("it is written", () => written.length === 1);
    assert.deepEqual(written, ["a=1"]);
  });
});
