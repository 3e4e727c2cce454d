import assert from "node:assert/strict";
import { LineSplitter } from "./lines.ts";

const bytes = (text: string): Buffer => Buffer.from(text);

describe("the lines of a watch", () => {
  const wire = bytes('{"a":"é"}\n\r\n{"b":2}\nrest');

  it("are the same wherever the network splits them, in a character too", () => {
    for (let a = 0; a <= wire.length; a++) {
      for (let b = a; b <= wire.length; b++) {
        const splitter = new LineSplitter();
        const lines = [wire.subarray(0, a), wire.subarray(a, b), wire.subarray(b)].flatMap((chunk) => splitter.push(chunk) ?? ["too long"]);
        assert.deepEqual([lines, splitter.held], [['{"a":"é"}', '{"b":2}'], 4], `split at ${a} and ${b}`);
      }
    }
  });

  it("have a greatest length, whether they end or not", () => {
    assert.deepEqual(new LineSplitter(4).push(bytes("1234\n")), ["1234"]);
    assert.equal(new LineSplitter(4).push(bytes("12345")), null);
    assert.equal(new LineSplitter(4).push(bytes("12345\n")), null);
    const splitter = new LineSplitter(4);
    splitter.push(bytes("123"));
    assert.equal(splitter.push(bytes("45\n")), null);
  });
});
