import assert from "node:assert/strict";
import {
  CANCEL,
  COMPRESSION_ERROR,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_GOAWAY,
  FRAME_RST_STREAM,
  FRAME_SIZE_ERROR,
  PREFACE,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  STREAM_CLOSED,
} from "./frames.ts";
import { block, data, frame, GET, HELLO, headers, POST, Probe, SETTINGS, uint32 } from "./testdata/harness.ts";

const [DATA, HEADERS, PRIORITY, RST, SETTING, PUSH, PING, GOAWAY, UPDATE, CONTINUATION] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const;
const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([0, id]), uint32(value)]);
const update = (id: number, by: number): Buffer => frame(UPDATE, 0, id, uint32(by));
const rst = (id: number, code = CANCEL): Buffer => frame(RST, 0, id, uint32(code));
const post = (id: number): Buffer => headers(id, POST, false);
const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const split = (id: number, flags: number, fields: string[]): Buffer => frame(HEADERS, flags, id, block(fields));

/** Frames after the greeting, and the code of the GOAWAY that must answer them. */
const CONNECTION_ERRORS: readonly (readonly [string, Buffer[], number])[] = [
  ["DATA on stream 0", [frame(DATA, 0, 0, "x")], PROTOCOL_ERROR],
  ["DATA on an idle stream", [data(1, "x")], PROTOCOL_ERROR],
  ["DATA with more padding than payload", [post(1), frame(DATA, 8, 1, Buffer.from([5, 1, 2]))], PROTOCOL_ERROR],
  ["padded DATA without its pad length", [post(1), frame(DATA, 8, 1)], PROTOCOL_ERROR],
  ["HEADERS on stream 0", [frame(HEADERS, 5, 0, block(GET))], PROTOCOL_ERROR],
  ["HEADERS on an even stream", [headers(2, GET)], PROTOCOL_ERROR],
  ["HEADERS on a stream below the last", [headers(5, GET), headers(3, GET)], STREAM_CLOSED],
  ["HEADERS with more padding than payload", [frame(HEADERS, 0xd, 1, Buffer.from([9, 0x82]))], PROTOCOL_ERROR],
  ["HEADERS cut off before their priority", [frame(HEADERS, 0x25, 1, Buffer.from([0, 0]))], FRAME_SIZE_ERROR],
  [
    "HEADERS of a stream that depends on itself",
    [frame(HEADERS, 0x25, 1, Buffer.concat([uint32(1), Buffer.from([0]), block(GET)]))],
    PROTOCOL_ERROR,
  ],
  ["a header block that HPACK cannot read", [frame(HEADERS, 5, 1, Buffer.from([0x80]))], COMPRESSION_ERROR],
  ["another frame inside a header block", [split(1, 1, GET), frame(PING, 0, 0, Buffer.alloc(8))], PROTOCOL_ERROR],
  ["an unknown frame inside a header block", [split(1, 1, GET), frame(77, 0, 0)], PROTOCOL_ERROR],
  ["CONTINUATION of another stream", [split(1, 1, GET), frame(CONTINUATION, 4, 3)], PROTOCOL_ERROR],
  ["CONTINUATION without HEADERS", [frame(CONTINUATION, 4, 1)], PROTOCOL_ERROR],
  ["PRIORITY of 6 octets", [frame(PRIORITY, 0, 1, Buffer.alloc(6))], FRAME_SIZE_ERROR],
  ["PRIORITY of a stream that depends on itself", [frame(PRIORITY, 0, 1, Buffer.concat([uint32(1), Buffer.from([0])]))], PROTOCOL_ERROR],
  ["RST_STREAM on stream 0", [rst(0)], PROTOCOL_ERROR],
  ["RST_STREAM of an idle stream", [rst(1)], PROTOCOL_ERROR],
  ["RST_STREAM of 3 octets", [headers(1, GET), frame(RST, 0, 1, "abc")], FRAME_SIZE_ERROR],
  ["SETTINGS on a stream", [frame(SETTING, 0, 1)], PROTOCOL_ERROR],
  ["SETTINGS of 5 octets", [frame(SETTING, 0, 0, "abcde")], FRAME_SIZE_ERROR],
  ["SETTINGS ACK with a payload", [frame(SETTING, 1, 0, setting(1, 1))], FRAME_SIZE_ERROR],
  ["ENABLE_PUSH of 2", [frame(SETTING, 0, 0, setting(2, 2))], PROTOCOL_ERROR],
  ["INITIAL_WINDOW_SIZE of 2^31", [frame(SETTING, 0, 0, setting(4, 2 ** 31))], FLOW_CONTROL_ERROR],
  ["MAX_FRAME_SIZE of 16,383", [frame(SETTING, 0, 0, setting(5, 16_383))], PROTOCOL_ERROR],
  ["MAX_FRAME_SIZE of 2^24", [frame(SETTING, 0, 0, setting(5, 2 ** 24))], PROTOCOL_ERROR],
  [
    "INITIAL_WINDOW_SIZE that overflows an open stream",
    [headers(1, GET), update(1, 0x7fff_ffff - 65_535), frame(SETTING, 0, 0, setting(4, 65_536))],
    FLOW_CONTROL_ERROR,
  ],
  ["PUSH_PROMISE", [frame(PUSH, 4, 1, Buffer.alloc(4))], PROTOCOL_ERROR],
  ["PING of 7 octets", [frame(PING, 0, 0, Buffer.alloc(7))], FRAME_SIZE_ERROR],
  ["PING on a stream", [frame(PING, 0, 1, Buffer.alloc(8))], PROTOCOL_ERROR],
  ["GOAWAY of 7 octets", [frame(GOAWAY, 0, 0, Buffer.alloc(7))], FRAME_SIZE_ERROR],
  ["GOAWAY on a stream", [frame(GOAWAY, 0, 1, Buffer.alloc(8))], PROTOCOL_ERROR],
  ["WINDOW_UPDATE of 3 octets", [frame(UPDATE, 0, 0, "abc")], FRAME_SIZE_ERROR],
  ["WINDOW_UPDATE of zero on the connection", [update(0, 0)], PROTOCOL_ERROR],
  ["WINDOW_UPDATE that overflows the connection", [update(0, 0x7fff_ffff)], FLOW_CONTROL_ERROR],
  ["WINDOW_UPDATE of an idle stream", [update(1, 1)], PROTOCOL_ERROR],
  ["a frame above 16 KiB", [frame(DATA, 0, 1, Buffer.alloc(16_385))], FRAME_SIZE_ERROR],
  [
    "a CONTINUATION flood",
    [split(1, 1, GET), ...times(1000, () => frame(CONTINUATION, 0, 1, block(["a", "b".repeat(100)])))],
    ENHANCE_YOUR_CALM,
  ],
  ["a flood of empty CONTINUATIONs", [split(1, 1, GET), ...times(1000, () => frame(CONTINUATION, 0, 1))], ENHANCE_YOUR_CALM],
  ["a flood of PINGs", times(2000, () => frame(PING, 0, 0, Buffer.alloc(8))), ENHANCE_YOUR_CALM],
  ["a flood of PING ACKs", times(2000, () => frame(PING, 1, 0, Buffer.alloc(8))), ENHANCE_YOUR_CALM],
  ["a flood of SETTINGS", times(2000, () => SETTINGS), ENHANCE_YOUR_CALM],
  ["a flood of SETTINGS ACKs", times(2000, () => frame(SETTING, 1, 0)), ENHANCE_YOUR_CALM],
  ["a flood of GOAWAYs", times(2000, () => frame(GOAWAY, 0, 0, Buffer.alloc(8))).toSpliced(0, 0, headers(1, GET)), ENHANCE_YOUR_CALM],
  ["a flood of PRIORITY", times(2000, (i) => frame(PRIORITY, 0, 2 * i + 1, Buffer.alloc(5))), ENHANCE_YOUR_CALM],
  ["a flood of WINDOW_UPDATEs", times(2000, () => update(0, 1)), ENHANCE_YOUR_CALM],
  ["a flood of empty DATA", [post(1), ...times(2000, () => data(1, ""))], ENHANCE_YOUR_CALM],
  ["a flood of DATA that is all padding", [post(1), ...times(2000, () => frame(DATA, 8, 1, Buffer.from([1, 0])))], ENHANCE_YOUR_CALM],
  ["a flood of unknown frames", times(2000, () => frame(0xc, 0, 0, "origin")), ENHANCE_YOUR_CALM],
  ["a flood of RST_STREAM of closed streams", [headers(1, GET), ...times(2000, () => rst(1))], ENHANCE_YOUR_CALM],
  ["rapid reset (CVE-2023-44487)", times(1000, (i) => Buffer.concat([headers(2 * i + 1, GET), rst(2 * i + 1)])), ENHANCE_YOUR_CALM],
  ["malformed requests without end", times(1000, (i) => headers(2 * i + 1, [":method", "GET"])), ENHANCE_YOUR_CALM],
  [
    "requests above the header limit without end",
    times(1000, (i) => headers(2 * i + 1, [...GET, ...times(500, () => "x")])),
    ENHANCE_YOUR_CALM,
  ],
  [
    "MadeYouReset by WINDOW_UPDATE of zero",
    times(1000, (i) => Buffer.concat([headers(2 * i + 1, GET), update(2 * i + 1, 0)])),
    ENHANCE_YOUR_CALM,
  ],
  [
    "MadeYouReset by a window that overflows",
    times(1000, (i) => Buffer.concat([headers(2 * i + 1, GET), update(2 * i + 1, 0x7fff_ffff)])),
    ENHANCE_YOUR_CALM,
  ],
  [
    "MadeYouReset by DATA after END_STREAM",
    times(1000, (i) => Buffer.concat([headers(2 * i + 1, GET), data(2 * i + 1, "x")])),
    ENHANCE_YOUR_CALM,
  ],
  [
    "MadeYouReset by HEADERS after END_STREAM",
    times(1000, (i) => Buffer.concat([headers(2 * i + 1, GET), headers(2 * i + 1, ["a", "b"])])),
    ENHANCE_YOUR_CALM,
  ],
  [
    "MadeYouReset by DATA beyond content-length",
    times(1000, (i) => Buffer.concat([headers(2 * i + 1, [...POST, "content-length", "1"], false), data(2 * i + 1, "xy")])),
    ENHANCE_YOUR_CALM,
  ],
];

/** Frames after the greeting, and the code of the RST_STREAM of stream 1 that must answer them. */
const STREAM_ERRORS: readonly (readonly [string, Buffer[], number])[] = [
  ["DATA after END_STREAM", [headers(1, GET), data(1, "x")], STREAM_CLOSED],
  ["HEADERS after END_STREAM", [headers(1, GET), headers(1, ["a", "b"])], STREAM_CLOSED],
  ["second HEADERS that do not end the stream", [post(1), headers(1, ["a", "b"], false)], PROTOCOL_ERROR],
  ["WINDOW_UPDATE of zero", [headers(1, GET), update(1, 0)], PROTOCOL_ERROR],
  ["WINDOW_UPDATE that overflows", [headers(1, GET), update(1, 0x7fff_ffff)], FLOW_CONTROL_ERROR],
  ["DATA beyond the stream's window", [post(1), ...times(17, () => data(1, Buffer.alloc(16_384)))], FLOW_CONTROL_ERROR],
  [
    "trailers above the header limit",
    [
      post(1),
      headers(
        1,
        times(600, () => "x"),
      ),
    ],
    ENHANCE_YOUR_CALM,
  ],
  ["small DATA frames that its owner cannot pass on", [post(1), ...times(17_000, () => data(1, "x"))], ENHANCE_YOUR_CALM],
];

describe.each([{ dialect: "weft" }, { dialect: "rfc" }] as const)("a hostile client in the $dialect dialect", ({ dialect }) => {
  it.each(CONNECTION_ERRORS)("is sent GOAWAY for %s", (_what, frames, code) => {
    const probe = Probe.server({ dialect });
    probe.receive(...frames);
    assert.deepEqual(
      probe.errors.map(([c]) => c),
      [code],
    );
    const last = probe.drain().at(-1)!;
    assert.deepEqual([last.type, last.payload.readUInt32BE(4)], [FRAME_GOAWAY, code]);
    assert.equal(probe.connection.activeStreams, 0);
    assert.ok(
      probe.recorders.every((r) => r.ended || r.log.at(-1)!.startsWith("reset")),
      "an owner was left without an end",
    );
    const before = probe.recorders.length;
    probe.receive(headers(9001, GET));
    assert.equal(probe.recorders.length, before);
    assert.equal(probe.connection.bufferedBytes, 0);
  });

  it.each(STREAM_ERRORS)("has its stream reset for %s, and only that", (_what, frames, code) => {
    const probe = Probe.server({ dialect });
    probe.receive(...frames, headers(3, GET));
    const resets = probe.drain().filter((f) => f.type === FRAME_RST_STREAM);
    assert.deepEqual(
      resets.map((f) => [f.id, f.payload.readUInt32BE(0)]),
      [[1, code]],
    );
    assert.match(probe.recorders[0]!.log.at(-1)!, /^reset protocol/);
    assert.deepEqual(probe.errors, []);
    assert.equal(probe.recorders.length, 2);
  });
});

describe("a hostile client", () => {
  it.each([
    ["no preface", Buffer.from("GET / HTTP/1.1\r\n\r\n"), PROTOCOL_ERROR],
    ["a preface with one octet wrong", Buffer.concat([PREFACE.subarray(0, 23), Buffer.from("x")]), PROTOCOL_ERROR],
    ["another frame before SETTINGS", Buffer.concat([PREFACE, headers(1, GET)]), PROTOCOL_ERROR],
    ["SETTINGS ACK before SETTINGS", Buffer.concat([PREFACE, frame(SETTING, 1, 0)]), PROTOCOL_ERROR],
  ])("is sent GOAWAY for %s", (_what, bytes, code) => {
    const probe = new Probe({ role: "server" });
    probe.receive(bytes);
    assert.deepEqual(
      probe.errors.map(([c]) => c),
      [code],
    );
  });

  it("starts only so many handlers by rapid reset, over any time: 200 and 100 more a second", () => {
    const probe = Probe.server();
    let sent = 0;
    for (; sent < 100_000 && probe.errors.length === 0; sent++) {
      probe.now = sent / 10;
      probe.receive(headers(2 * sent + 1, GET), rst(2 * sent + 1));
      probe.drain();
    }
    assert.equal(probe.errors[0]?.[0], ENHANCE_YOUR_CALM);
    assert.ok(probe.streams.length < 250, `${probe.streams.length} handlers`);
  });

  it("may cancel one request in twenty for as long as it likes", () => {
    const probe = Probe.server();
    probe.accept = (stream) => {
      stream.writeHead({ status: 200, reason: "OK", version: 11, fields: [], contentLength: -1 }, true);
      return { onHead() {}, onInterim() {}, onData() {}, onTrailers() {}, onReset() {}, onWritable() {} };
    };
    for (let i = 0; i < 20_000; i++) {
      probe.receive(headers(2 * i + 1, GET, i % 20 !== 0), ...(i % 20 === 0 ? [rst(2 * i + 1)] : []));
      probe.drain();
    }
    assert.deepEqual(probe.errors, []);
  });

  it("has streams above the announced number refused", () => {
    const probe = Probe.server({ limits: { maxConcurrentStreams: 2 } });
    probe.receive(headers(1, GET), headers(3, GET), headers(5, GET));
    assert.deepEqual(
      probe.drain().map((f) => [f.type, f.id, f.payload.readUInt32BE(0)]),
      [[FRAME_RST_STREAM, 5, REFUSED_STREAM]],
    );
    assert.equal(probe.connection.activeStreams, 2);
  });

  it("that asks and never reads is cut off while little waits for it", () => {
    const probe = Probe.server();
    for (let i = 0; i < 20_000 && probe.errors.length === 0; i++) {
      probe.now = i * 100;
      probe.receive(frame(PING, 0, 0, Buffer.alloc(8)));
    }
    assert.equal(probe.errors[0]?.[1], "peer does not read");
    assert.ok(probe.connection.bufferedBytes < 70_000);
  });

  it("cannot make the connection's flow control leak by DATA on streams that were reset", () => {
    const probe = Probe.server();
    probe.receive(post(1));
    probe.streams[0]!.reset("cancelled");
    for (let i = 0; i < 3000; i++) probe.receive(data(1, Buffer.alloc(16_384)));
    assert.deepEqual(probe.errors, []);
    const credited = probe
      .drain()
      .filter((f) => f.type === UPDATE)
      .reduce((sum, f) => sum + f.payload.readUInt32BE(0), 0);
    assert.ok(credited > 3000 * 16_384 - 16 * 1024 * 1024);
  });

  it("keeps only what its stalled stream holds, not the chunks that it came in", () => {
    const probe = Probe.server();
    probe.receive(post(1));
    const kept: Buffer[] = [];
    const events = probe.recorders[0]!;
    events.onData = (chunk) => kept.push(chunk);
    for (let i = 0; i < 200; i++) {
      const chunk = Buffer.alloc(60_000);
      chunk.set(data(1, Buffer.alloc(1000)));
      chunk.set(frame(0xee, 0, 0, Buffer.alloc(16_000)), 1009);
      chunk.set(frame(0xee, 0, 0, Buffer.alloc(16_000)), 17_018);
      probe.connection.receive(chunk.subarray(0, 33_027));
    }
    const held = new Set(kept.map((chunk) => chunk.buffer));
    const bytes = [...held].reduce((sum, buffer) => sum + buffer.byteLength, 0);
    assert.equal(kept.length, 200);
    assert.ok(bytes < 2_000_000, `${bytes} bytes are held for 200,000`);
  });

  it("is refused 10,000 cookie crumbs in both dialects", () => {
    const crumbs = block([...GET, ...times(4000, (i) => (i % 2 === 0 ? "cookie" : "a=b"))]);
    const frames = [frame(HEADERS, 1, 1, crumbs.subarray(0, 16_000)), frame(CONTINUATION, 4, 1, crumbs.subarray(16_000))];
    for (const dialect of ["weft", "rfc"] as const) {
      const probe = Probe.server({ dialect });
      probe.receive(...frames, ...frames.map((f) => Buffer.concat([f.subarray(0, 5), uint32(3), f.subarray(9)])));
      assert.equal(probe.streams.length, 0, dialect);
    }
  });
});

describe("a hostile server", () => {
  const OPEN = headers(1, [":status", "200"], false);
  it.each([
    ["HEADERS of a stream that was never opened", [headers(3, [":status", "200"])], PROTOCOL_ERROR],
    ["HEADERS of an even stream", [headers(2, [":status", "200"])], PROTOCOL_ERROR],
    ["PUSH_PROMISE", [frame(PUSH, 4, 1, Buffer.alloc(4))], PROTOCOL_ERROR],
    ["ENABLE_PUSH of 1", [frame(SETTING, 0, 0, setting(2, 1))], PROTOCOL_ERROR],
    ["DATA of a stream that was never opened", [data(3, "x")], PROTOCOL_ERROR],
    ["an ORIGIN flood (CVE-2026-48619)", times(2000, () => frame(0xc, 0, 0, "x")), ENHANCE_YOUR_CALM],
    ["HEADERS after the end", [headers(1, [":status", "200"]), headers(1, [":status", "200"])], STREAM_CLOSED],
  ])("is sent GOAWAY for %s", (_what, frames, code) => {
    const client = Probe.client();
    client.request();
    client.drain();
    client.receive(...frames);
    assert.equal(client.errors[0]?.[0], code);
    assert.equal(client.connection.canRequest, false);
    assert.equal(client.connection.request(client.recorders[0]!), null);
  });

  it.each([
    ["DATA before HEADERS", [data(1, "x")]],
    ["too many interim responses", times(20, () => headers(1, [":status", "103"], false))],
    ["a body longer than declared", [headers(1, [":status", "200", "content-length", "1"], false), data(1, "xy")]],
    ["an end before the declared length", [headers(1, [":status", "200", "content-length", "9"], false), data(1, "x", true)]],
    ["a declared body that the head already ends", [headers(1, [":status", "200", "content-length", "9"])]],
    ["pseudo-headers in trailers", [OPEN, headers(1, [":status", "200"])]],
  ])("has its stream reset for %s", (_what, frames) => {
    const client = Probe.client();
    const { recorder } = client.request();
    client.drain();
    client.receive(...frames);
    assert.match(recorder.log.at(-1)!, /^reset protocol/);
    assert.equal(recorder.ended, false);
    assert.deepEqual(client.errors, []);
    assert.equal(client.drain().filter((f) => f.type === FRAME_RST_STREAM).length, 1);
  });
});

it("HELLO is the least that a client must say", () => {
  const probe = new Probe({ role: "server" });
  probe.receive(HELLO, headers(1, GET));
  assert.equal(probe.streams.length, 1);
});
