import assert from "node:assert/strict";
import { REQUESTS, RESPONSES } from "./testdata/messages.ts";
import { latin1, play, playRequest, playResponse, type Seen } from "./testdata/play.ts";
import { RequestDecoder } from "./decoder.ts";

/** Calls `check` with the wire cut at one and at two points, everywhere. */
function everySplit(wire: string, check: (...pieces: string[]) => void): void {
  for (let a = 0; a <= wire.length; a++) {
    for (let b = a; b <= wire.length; b++) check(wire.slice(0, a), wire.slice(a, b), wire.slice(b));
  }
}

/** Cheaper than deepEqual, of which the grid needs some hundred thousand. */
const text = (seen: Seen[]): string => JSON.stringify(seen);

describe("a request", () => {
  it.each(REQUESTS)("reads the same wherever the network splits it: %s", (_name, wire) => {
    const whole = text(playRequest(wire));
    everySplit(wire, (...pieces) => {
      if (text(playRequest(...pieces)) !== whole) assert.fail(JSON.stringify({ pieces, whole, got: playRequest(...pieces) }));
    });
  });

  it.each(REQUESTS)("reads the same octet by octet: %s", (_name, wire) => {
    assert.deepEqual(playRequest(...wire), playRequest(wire));
  });
});

describe("a response", () => {
  it.each(RESPONSES)("reads the same wherever the network splits it: %s", (_name, method, mayUpgrade, wire) => {
    const whole = text(playResponse(method, mayUpgrade, wire));
    everySplit(wire, (...pieces) => {
      const got = text(playResponse(method, mayUpgrade, ...pieces));
      if (got !== whole) assert.fail(JSON.stringify({ pieces, whole, got }));
    });
  });
});

describe("a queue of pieces", () => {
  it("reads the same when all arrived before the first pull", () => {
    const wire = REQUESTS.find(([name]) => name === "a pipeline")![1];
    const decoder = new RequestDecoder();
    for (const octet of wire) decoder.push(latin1(octet));
    assert.equal(decoder.buffered, wire.length);
    assert.deepEqual(play(decoder, []), playRequest(wire));
    assert.equal(decoder.buffered, 0);
  });
});
