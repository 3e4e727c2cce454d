import assert from "node:assert/strict";
import { frameMessage, MessageReader } from "./messages.ts";
import { INTERNAL, RESOURCE_EXHAUSTED } from "./status.ts";

const BYTES_MAX = 64;

function read(...pieces: Buffer[]): { messages: string[]; fault: number | null; partial: boolean } {
  const reader = new MessageReader(BYTES_MAX);
  const messages: string[] = [];
  let fault: number | null = null;
  for (const piece of pieces) {
    const received = reader.receive(piece);
    messages.push(...received.messages.map((m) => m.toString("hex")));
    fault ??= received.fault?.code ?? null;
    if (fault !== null) break;
  }
  return { messages, fault, partial: reader.partial };
}

const BODIES = [Buffer.from("a"), Buffer.alloc(0), Buffer.from("twenty octets of it."), Buffer.alloc(0), Buffer.alloc(BYTES_MAX, 0x5a)];
const WIRE = Buffer.concat(BODIES.map(frameMessage));

describe("a body of length-prefixed messages", () => {
  it("reads the same wherever the network splits it", () => {
    const whole = { messages: BODIES.map((b) => b.toString("hex")), fault: null, partial: false };
    assert.deepEqual(read(WIRE), whole);
    for (let a = 0; a <= WIRE.length; a++) {
      for (let b = a; b <= WIRE.length; b++) assert.deepEqual(read(WIRE.subarray(0, a), WIRE.subarray(a, b), WIRE.subarray(b)), whole);
    }
  });

  it("reads the same octet by octet", () => {
    assert.deepEqual(read(...Array.from(WIRE, (octet) => Buffer.of(octet))).messages, read(WIRE).messages);
  });

  it("is partial wherever it is cut but between two messages", () => {
    const ends = new Set([0]);
    let at = 0;
    for (const body of BODIES) ends.add((at += 5 + body.length));
    for (let cut = 0; cut <= WIRE.length; cut++) assert.equal(read(WIRE.subarray(0, cut)).partial, !ends.has(cut), `cut at ${cut}`);
  });

  const faults: { name: string; wire: Buffer; code: number }[] = [
    { name: "one byte too many", wire: frameMessage(Buffer.alloc(BYTES_MAX + 1)), code: RESOURCE_EXHAUSTED },
    { name: "4 GiB that were only announced", wire: Buffer.of(0, 0xff, 0xff, 0xff, 0xff), code: RESOURCE_EXHAUSTED },
    { name: "the compressed flag", wire: Buffer.of(1, 0, 0, 0, 1, 0), code: INTERNAL },
    { name: "a flag that gRPC does not know", wire: Buffer.of(0x80, 0, 0, 0, 0), code: INTERNAL },
  ];
  it.each(faults)("is refused for $name, after the messages before it", ({ wire, code }) => {
    assert.deepEqual(read(Buffer.concat([frameMessage(Buffer.from("b")), wire])), { messages: ["62"], fault: code, partial: true });
  });

  it("takes memory for what has come, not for what was announced", () => {
    const reader = new MessageReader(16 * 1024 * 1024);
    reader.receive(Buffer.of(0, 1, 0, 0, 0));
    reader.receive(Buffer.alloc(100));
    assert.ok(reader.heldBytes <= 16 * 1024, `${reader.heldBytes} bytes`);
  });

  it("holds at most twice what has come of a large message, though it comes in crumbs", () => {
    const size = 3 * 1024 * 1024;
    const wire = frameMessage(Buffer.alloc(size, 7));
    const reader = new MessageReader(size);
    let worst = 0;
    const messages: Buffer[] = [];
    for (let at = 0; at < wire.length; at += 1000) {
      messages.push(...reader.receive(wire.subarray(at, at + 1000)).messages);
      worst = Math.max(worst, reader.heldBytes - Math.max(16 * 1024, 2 * (at + 1000)));
    }
    assert.ok(worst <= 0, `${worst} bytes beyond`);
    assert.deepEqual(
      messages.map((m) => [m.length, m.every((octet) => octet === 7)]),
      [[size, true]],
    );
    assert.equal(reader.heldBytes, 0);
  });
});
