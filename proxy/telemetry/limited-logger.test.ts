import assert from "node:assert/strict";
import { createLogger } from "#runtime/logger.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { LimitedLogger } from "./limited-logger.ts";

function rig() {
  const clock = new ManualClock();
  const lines: Record<string, unknown>[] = [];
  const logger = new LimitedLogger(
    createLogger((line) => lines.push(JSON.parse(line)), clock, "info"),
    clock,
    { linesMax: 3, windowMs: 10_000 },
  );
  const take = (): string[] =>
    lines.splice(0).map((l) => `${l["level"]} ${l["code"]} ${l["message"]}${l["suppressed"] === undefined ? "" : ` ${l["suppressed"]}`}`);
  return { clock, logger, take };
}

describe("error lines", () => {
  it("are at most so many of one code in a window, and those left out are counted at its end", () => {
    const r = rig();
    for (let i = 0; i < 1_000; i++) r.logger.error("WEFT_CONNECT_FAILED", `attempt ${i}`);
    assert.deepEqual(
      r.take(),
      [0, 1, 2].map((i) => `error WEFT_CONNECT_FAILED attempt ${i}`),
    );
    r.clock.advance(10_000);
    assert.deepEqual(r.take(), ["warn WEFT_CONNECT_FAILED further lines of this kind were left out 997"]);
  });

  it("of one code do not hold back another's", () => {
    const r = rig();
    for (let i = 0; i < 10; i++) r.logger.error("WEFT_CONNECT_FAILED", "x");
    r.logger.warn("WEFT_TLS_FAILED", "y", { peer: "z" });
    assert.equal(r.take().at(-1), "warn WEFT_TLS_FAILED y");
  });

  it("stay within the bound for ever, the line that counts included", () => {
    const r = rig();
    let lines = 0;
    for (let second = 0; second < 100; second++) {
      for (let i = 0; i < 50; i++) r.logger.error("WEFT_CONNECT_FAILED", "x");
      r.clock.advance(1_000);
      lines += r.take().length;
    }
    assert.ok(lines <= 11 * 3, `${lines} lines in 100 s`);
  });

  it("leave no timer behind once it is quiet", () => {
    const r = rig();
    for (let i = 0; i < 5; i++) r.logger.error("WEFT_CONNECT_FAILED", "x");
    r.clock.advance(20_000);
    assert.equal(r.clock.pending, 0);
  });
});
