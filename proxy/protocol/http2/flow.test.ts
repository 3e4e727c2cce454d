import assert from "node:assert/strict";
import fc from "fast-check";
import { FRAME_DATA, FRAME_WINDOW_UPDATE } from "./frames.ts";
import { data, frame, headers, POST, Probe, pump, uint32 } from "./testdata/harness.ts";

const initialWindow = (value: number): Buffer => frame(4, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(value)]));
const sent = (frames: { type: number; id: number; payload: Buffer }[], id: number): number =>
  frames.reduce((sum, f) => sum + (f.type === FRAME_DATA && f.id === id ? f.payload.length : 0), 0);

describe("sending", () => {
  it("never goes beyond a window, whatever the peer does to it, and sends all that fits", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("write" as const), stream: fc.nat(2), by: fc.integer({ min: 1, max: 100_000 }) }),
      fc.record({ kind: fc.constant("stream" as const), stream: fc.nat(2), by: fc.integer({ min: 1, max: 50_000 }) }),
      fc.record({ kind: fc.constant("connection" as const), stream: fc.nat(2), by: fc.integer({ min: 1, max: 80_000 }) }),
      fc.record({ kind: fc.constant("initial" as const), stream: fc.nat(2), by: fc.integer({ min: 0, max: 200_000 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const client = Probe.client();
        const streams = [0, 1, 2].map(() => client.request({ method: "POST" }, false).stream);
        client.drain();
        let initial = 65_535;
        let connection = 65_535;
        const windows = [initial, initial, initial];
        const queued = [0, 0, 0];
        const account = () => {
          for (const f of client.drain().filter((x) => x.type === FRAME_DATA)) {
            const at = (f.id - 1) / 2;
            connection -= f.payload.length;
            windows[at]! -= f.payload.length;
            queued[at]! -= f.payload.length;
            assert.ok(connection >= 0 && windows[at]! >= 0, "a window was overdrawn");
          }
        };
        for (const { kind, stream, by } of steps) {
          if (kind === "write") {
            streams[stream]!.writeData(Buffer.alloc(by), false);
            queued[stream]! += by;
          } else if (kind === "stream") {
            windows[stream]! += by;
            client.receive(frame(8, 0, 2 * stream + 1, uint32(by)));
          } else if (kind === "connection") {
            connection += by;
            client.receive(frame(8, 0, 0, uint32(by)));
          } else if (kind === "initial") {
            for (let i = 0; i < 3; i++) windows[i]! += by - initial;
            initial = by;
            client.receive(initialWindow(by));
          }
          account();
        }
        const sendable = [0, 1, 2].some((i) => queued[i]! > 0 && windows[i]! > 0) && connection > 0;
        assert.equal(sendable, false, "bytes were left that the windows allowed");
        assert.equal(client.connection.hasOutput, false);
        assert.deepEqual(client.errors, []);
      }),
      { numRuns: 300 },
    );
  });

  it("tells of room when half of the high-water mark is left, and only then", () => {
    const client = Probe.client();
    client.receive(frame(8, 0, 0, uint32(1 << 24)));
    const { recorder, stream } = client.request({ method: "POST" }, false);
    client.drain();
    let room = 0;
    recorder.onRoom = () => room++;
    assert.equal(stream.writeData(Buffer.alloc(256 * 1024), false), true);
    assert.equal(stream.writeData(Buffer.alloc(1), false), false);
    client.drain();
    assert.equal(room, 0, "65,535 of 262,145 bytes are not half");
    client.receive(frame(8, 0, 1, uint32(70_000)));
    client.drain();
    assert.equal(room, 1);
  });

  it("of a stalled stream does not hold up another", () => {
    const client = Probe.client();
    client.receive(frame(8, 0, 0, uint32(1 << 24)));
    const stalled = client.request({ method: "POST" }, false).stream;
    const other = client.request({ method: "POST" }, false).stream;
    client.drain();
    stalled.writeData(Buffer.alloc(1 << 20), true);
    other.writeData(Buffer.alloc(60_000), true);
    const frames = client.drain();
    assert.deepEqual([sent(frames, 1), sent(frames, 3)], [65_535, 60_000]);
  });

  it("goes on where the connection's window was empty, in the order in which streams came", () => {
    const client = Probe.client();
    const streams = [0, 1].map(() => client.request({ method: "POST" }, false).stream);
    client.drain();
    for (const stream of streams) stream.writeData(Buffer.alloc(60_000), true);
    client.drain();
    assert.equal(client.connection.hasOutput, false);
    const before = client.outputs;
    client.receive(frame(8, 0, 0, uint32(1 << 20)));
    assert.equal(client.outputs, before + 1);
    client.drain();
    assert.deepEqual([sent(client.frames, 1), sent(client.frames, 3)], [60_000, 60_000]);
  });
});

describe("receiving", () => {
  const drainUpdates = (probe: Probe) =>
    probe
      .drain()
      .filter((f) => f.type === FRAME_WINDOW_UPDATE)
      .map((f) => [f.id, f.payload.readUInt32BE(0)]);

  it("gives a stream's bytes back when its owner has passed on half a window, not before", () => {
    const server = Probe.server();
    server.receive(headers(1, POST, false), ...Array.from({ length: 16 }, () => data(1, Buffer.alloc(16_384))));
    const stream = server.streams[0]!;
    assert.deepEqual(drainUpdates(server), []);
    stream.credit(100_000);
    assert.deepEqual(drainUpdates(server), []);
    stream.credit(31_072);
    assert.deepEqual(drainUpdates(server), [[1, 131_072]]);
    stream.credit(1e9);
    assert.deepEqual(drainUpdates(server), [[1, 131_072]], "never more than came");
  });

  it("gives padding back without the owner", () => {
    const server = Probe.server();
    server.receive(headers(1, POST, false));
    for (let i = 0; i < 600; i++) server.receive(frame(0, 8, 1, Buffer.concat([Buffer.from([255]), Buffer.from("x"), Buffer.alloc(255)])));
    server.streams[0]!.credit(1);
    assert.equal(drainUpdates(server)[0]?.[1], 600 * 256 + 1);
    assert.equal(server.recorders[0]!.bytes, 600);
  });

  it("gives the connection's bytes back on receipt, so that a stalled stream does not stall another", () => {
    const { client, server } = Probe.pair({}, { limits: { connectionWindow: 300_000 } });
    const stalled = client.request({ method: "POST" }, false).stream;
    pump(client.connection, server.connection);
    stalled.writeData(Buffer.alloc(1 << 20), true);
    pump(client.connection, server.connection);
    assert.equal(server.recorders[0]!.bytes, 256 * 1024);
    const other = client.request({ method: "POST" }, false).stream;
    other.writeData(Buffer.alloc(1 << 20), true);
    pump(client.connection, server.connection);
    server.recorders[1]!.onReceived = (bytes) => server.streams[1]!.credit(bytes);
    server.streams[1]!.credit(256 * 1024);
    pump(client.connection, server.connection);
    assert.equal(server.recorders[1]!.bytes, 1 << 20);
    assert.equal(server.recorders[1]!.ended, true);
    assert.deepEqual([client.errors, server.errors], [[], []]);
  });

  it("holds no more than windows and high-water marks allow when nobody reads", () => {
    const { client, server } = Probe.pair();
    const streams = Array.from({ length: 20 }, () => client.request({ method: "POST" }, false).stream);
    for (let i = 0; i < 100; i++) {
      for (const stream of streams) if (i === 0 || stream.writeData(Buffer.alloc(0), false)) stream.writeData(Buffer.alloc(32_768), false);
      pump(client.connection, server.connection);
    }
    assert.ok(client.connection.bufferedBytes <= 20 * (256 + 64) * 1024);
    assert.ok(server.recorders.every((r) => r.bytes === 256 * 1024));
  });

  it("of a whole body through both sides is exact to the octet", () => {
    const { client, server } = Probe.pair();
    const body = Buffer.from(Array.from({ length: 300_007 }, (_, i) => (i * 31) & 0xff));
    const got: Buffer[] = [];
    server.accept = (stream) => {
      stream.writeHead({ status: 200, reason: "OK", version: 11, fields: [], contentLength: body.length }, false);
      stream.writeData(body, true);
      return { onHead() {}, onInterim() {}, onData() {}, onTrailers() {}, onReset() {}, onWritable() {} };
    };
    const { recorder, stream } = client.request();
    recorder.onData = (chunk) => {
      got.push(chunk);
      stream.credit(chunk.length);
    };
    pump(client.connection, server.connection, 10_000);
    assert.ok(Buffer.concat(got).equals(body));
  });
});
