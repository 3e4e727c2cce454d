import assert from "node:assert/strict";
import fc from "fast-check";
import { beyondBounds } from "./json-bounds.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const nested = (n: number): string => "[".repeat(n) + "]".repeat(n);

function depthOf(value: unknown): number {
  return typeof value !== "object" || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe("the bounds of JSON", () => {
  it("count depth as a parser would count it", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = bytes(JSON.stringify([value]));
        const depth = 1 + depthOf(value);
        assert.deepEqual([beyondBounds(text, depth), beyondBounds(text, depth - 1) === null], [null, false]);
      }),
    );
  });

  it("do not count what stands in texts, escaped quotes included", () => {
    assert.equal(beyondBounds(bytes(JSON.stringify({ a: '[[,[["\\[[{{' })), 1, 1), null);
  });

  it("are found without a stack of their own", () => {
    assert.deepEqual(
      [beyondBounds(bytes(nested(100))), beyondBounds(bytes(nested(101))), beyondBounds(bytes("[".repeat(5_000_000)))],
      [null, "nested deeper than 100", "nested deeper than 100"],
    );
  });

  it("keep small text from becoming many objects", () => {
    const many = (n: number): Uint8Array => bytes(`[${"{},".repeat(n)}{}]`);
    assert.deepEqual([beyondBounds(many(200_000)), beyondBounds(many(2_400_000))], [null, "of more than 500000 parts"]);
  });
});
