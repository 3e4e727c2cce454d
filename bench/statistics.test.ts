import assert from "node:assert/strict";
import { median, ratios, spread } from "./statistics.ts";

describe("the median", () => {
  it("is the middle value, whatever the order they came in", () => assert.equal(median([9, 1, 5]), 5));
  it("is the mean of the two in the middle of an even number", () => assert.equal(median([4, 1, 3, 2]), 2.5));
  it("is null of nothing, which is not zero", () => assert.equal(median([]), null));
  it("leaves its argument as it was", () => {
    const values = [3, 1, 2];
    median(values);
    assert.deepEqual(values, [3, 1, 2]);
  });
});

describe("the spread", () => {
  it("has the least and the most beside the median", () => assert.deepEqual(spread([2, 8, 3]), { median: 3, min: 2, max: 8 }));
  it("is null of nothing", () => assert.equal(spread([]), null));
});

describe("ratios to a reference", () => {
  it("are taken within a round, so that a slow round does not count twice", () => assert.deepEqual(ratios([5, 20], [10, 40]), [0.5, 0.5]));
  it("leave out a round in which one of the two failed", () => assert.deepEqual(ratios([5, null, 6], [null, 10, 12]), [0.5]));
  it("leave out a reference of zero, which measured nothing", () => assert.deepEqual(ratios([5], [0]), []));
});
