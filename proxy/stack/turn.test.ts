import assert from "node:assert/strict";
import { BUFFERED_BYTES_MAX, BufferAccount, Turn } from "./turn.ts";

describe("the end of a turn", () => {
  it("comes once for all that was added, and again for what is added while it runs", () => {
    const scheduled: (() => void)[] = [];
    const turn = new Turn((f) => scheduled.push(f));
    const log: string[] = [];
    const late = { flush: () => log.push("late") };
    const first = {
      flush: () => {
        log.push("first");
        turn.add(late);
      },
    };
    turn.add(first);
    turn.add({ flush: () => log.push("second") });
    const once = scheduled.length;
    scheduled.shift()?.();
    const after = [...log];
    scheduled.shift()?.();
    assert.deepEqual([once, after, log, scheduled.length], [1, ["first", "second"], ["first", "second", "late"], 0]);
  });
});

describe("the account of buffers", () => {
  it("is full above its limit, and not at it", () => {
    const account = new BufferAccount();
    let held = account.move(0, BUFFERED_BYTES_MAX);
    const at = account.full;
    held = account.move(held, BUFFERED_BYTES_MAX + 1);
    const above = account.full;
    account.move(held, 0);
    assert.deepEqual([at, above, account.held], [false, true, 0]);
  });
});
