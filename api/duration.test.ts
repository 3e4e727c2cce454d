import assert from "node:assert/strict";
import fc from "fast-check";
import { durationMs, formatDuration, parseDuration } from "./duration.ts";

describe("a GEP-2257 duration", () => {
  it.each([
    ["0s", 0],
    ["0h0m0s0ms", 0],
    ["25ms", 25],
    ["1s", 1000],
    ["1m", 60_000],
    ["1h30m", 5_400_000],
    ["1h1m1s1ms", 3_661_001],
    ["10s500ms", 10_500],
    ["1s1s", 2000],
    ["30m1h", 5_400_000],
    ["00001s", 1000],
    ["99999h", 359_996_400_000],
    ["87600h", 315_360_000_000],
  ])("%s is %i ms", (text, ms) => {
    assert.equal(parseDuration(text), ms);
  });

  it.each([
    ["", "empty"],
    ["1", "without a unit"],
    ["s", "without digits"],
    ["1d", "in days"],
    ["1us", "in microseconds"],
    ["-1s", "negative"],
    ["+1s", "signed"],
    ["1.5s", "fractional"],
    ["1 s", "spaced"],
    [" 1s", "led by a space"],
    ["1s\n", "followed by a line end"],
    ["1S", "in capitals"],
    ["100000s", "of six digits"],
    ["1h1m1s1ms1ms", "of five groups"],
    ["1e3s", "in scientific notation"],
    ["١s", "in other scripts' digits"],
    ["Infinitys", "infinite"],
  ])("%j is none, being %s", (text) => {
    assert.equal(parseDuration(text), null);
    assert.throws(() => durationMs(text), RangeError);
  });

  it("is written in its shortest usual form", () => {
    const written = [0, 1, 1000, 1500, 60_000, 5_400_000, 86_400_000, 3_661_001].map(formatDuration);
    assert.deepEqual(written, ["0s", "1ms", "1s", "1s500ms", "1m", "1h30m", "24h", "1h1m1s1ms"]);
  });

  it("is read back as what was written, for every length it can say", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 99_999 * 3_600_000 }), (ms) => {
        assert.equal(parseDuration(formatDuration(ms)), ms);
      }),
    );
  });

  it("is refused for what no duration can say", () => {
    for (const ms of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 5 * 99_999 * 3_600_000]) {
      assert.throws(() => formatDuration(ms), RangeError);
    }
  });
});
