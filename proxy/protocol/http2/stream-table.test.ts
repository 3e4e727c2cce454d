import assert from "node:assert/strict";
import fc from "fast-check";
import { StreamTable } from "./stream-table.ts";

describe("the table of streams", () => {
  it("answers like a Map through any sequence of additions and removals", () => {
    const step = fc.tuple(fc.constantFrom("open", "close", "get"), fc.nat(400));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
        const table = new StreamTable<{ id: number }>();
        const model = new Map<number, { id: number }>();
        for (const [what, n] of steps) {
          const id = 2 * n + 1;
          const stream = { id };
          const opens = what === "open" && !model.has(id);
          if (opens) table.set(id, stream);
          if (opens) model.set(id, stream);
          assert.equal(what === "close" && table.delete(id), what === "close" && model.delete(id));
          assert.equal(table.get(id), model.get(id));
          assert.equal(table.size, model.size);
        }
        assert.deepEqual(
          table.values(),
          [...model.values()].sort((a, b) => a.id - b.id),
        );
      }),
      { seed: 3, numRuns: 500 },
    );
  });
  it("keeps long-lived streams while a hundred thousand others come and go", () => {
    const table = new StreamTable<{ id: number }>();
    table.set(1, { id: 1 });
    table.set(3, { id: 3 });
    for (let id = 5; id < 200_005; id += 2) {
      table.set(id, { id });
      if (id > 65) table.delete(id - 60);
    }
    assert.equal(table.get(1)?.id, 1);
    assert.equal(table.get(3)?.id, 3);
    assert.ok(table.size < 40);
  });
});
