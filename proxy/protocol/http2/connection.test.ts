import assert from "node:assert/strict";
import type { ResetReason, ResponseHead } from "../stream.ts";
import {
  CANCEL,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_RST_STREAM,
  INTERNAL_ERROR,
  NO_ERROR,
  REFUSED_STREAM,
} from "./frames.ts";
import { data, frame, GET, headers, POST, Probe, pump, Recorder, uint32 } from "./testdata/harness.ts";

const OK: ResponseHead = { status: 200, reason: "OK", version: 11, fields: [], contentLength: -1 };
const codes = (probe: Probe) =>
  probe
    .drain()
    .filter((f) => f.type === FRAME_RST_STREAM)
    .map((f) => f.payload.readUInt32BE(0));

describe("output", () => {
  it("is told of once until everything was taken", () => {
    const client = Probe.client();
    const before = client.outputs;
    client.request();
    client.request();
    assert.equal(client.outputs, before + 1);
    client.drain();
    client.request();
    assert.equal(client.outputs, before + 2);
  });

  it("has control frames before streams", () => {
    const client = Probe.client();
    client.request();
    client.connection.ping(7);
    assert.deepEqual(
      client.drain().map((f) => f.type),
      [FRAME_PING, FRAME_HEADERS],
    );
  });

  it("is one buffer a take, with streams in turn, 64 KiB each at most", () => {
    const client = Probe.client();
    client.receive(frame(4, 0, 0, Buffer.concat([Buffer.from([0, 4]), uint32(1 << 20)])), frame(8, 0, 0, uint32(1 << 24)));
    client.drain();
    for (let i = 0; i < 3; i++) client.request({ method: "POST" }, false).stream.writeData(Buffer.alloc(200_000), true);
    const sizes: number[][] = [];
    for (let out = client.connection.take(); out !== null; out = client.connection.take()) {
      const frames = client.frames.length;
      assert.ok(out.length <= 256 * 1024);
      client.frames.push(...parse(out));
      sizes.push(
        [1, 3, 5].map((id) =>
          client.frames.slice(frames).reduce((sum, f) => sum + (f.id === id && f.type === FRAME_DATA ? f.payload.length : 0), 0),
        ),
      );
    }
    assert.deepEqual(sizes.slice(0, 3), [
      [65_536, 65_536, 65_536],
      [65_536, 65_536, 65_536],
      [65_536, 65_536, 65_536],
    ]);
    assert.equal(client.connection.bufferedBytes, 0);
  });

  it("keeps to the bytes asked for, and the rest comes with the next take", () => {
    const client = Probe.client();
    client.request({ method: "POST" }, false).stream.writeData(Buffer.alloc(60_000), true);
    const lengths: number[] = [];
    while (client.connection.hasOutput) lengths.push(client.connection.take(10_000)!.length);
    assert.ok(lengths.every((length) => length <= 10_000));
    assert.equal(lengths.length, 7);
  });

  it("gives ids in the order in which heads go out, not in which streams were opened", () => {
    const client = Probe.client();
    const first = client.connection.request(new Recorder())!;
    client.request({ target: "/second" });
    first.writeHead({ method: "GET", target: "/first", authority: "a", version: 11, fields: [], contentLength: -1 }, true);
    const server = Probe.server();
    pump(client.connection, server.connection);
    assert.deepEqual(server.errors, []);
    assert.deepEqual(
      server.recorders.map((r) => /"target":"([^"]*)"/.exec(r.log[0]!)?.[1]),
      ["/second", "/first"],
    );
  });

  it("has nothing of a request that was given up before it was taken", () => {
    const client = Probe.client();
    client.request().stream.reset("timeout");
    assert.deepEqual(client.drain(), []);
    assert.equal(client.connection.activeStreams, 0);
    client.request();
    assert.equal(client.drain()[0]?.id, 1);
  });
});

const parse = (bytes: Buffer) => {
  const frames = [];
  for (let at = 0; at < bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    frames.push({
      type: bytes[at + 3]!,
      flags: bytes[at + 4]!,
      id: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + bytes.readUIntBE(at, 3)),
    });
  }
  return frames;
};

describe("a reset", () => {
  it.each<[ResetReason, number]>([
    ["refused", REFUSED_STREAM],
    ["overload", REFUSED_STREAM],
    ["internal", INTERNAL_ERROR],
    ["timeout", CANCEL],
    ["cancelled", CANCEL],
    ["protocol", CANCEL],
    ["closed", CANCEL],
  ])("for %s by a server's owner is sent as code %i", (reason, code) => {
    const server = Probe.server();
    server.receive(headers(1, GET));
    server.streams[0]!.reset(reason);
    assert.deepEqual(codes(server), [code]);
    assert.equal(server.connection.activeStreams, 0);
  });

  it("never says 'not processed' once a response has begun", () => {
    const server = Probe.server();
    server.receive(headers(1, GET));
    server.streams[0]!.writeHead(OK, false);
    server.drain();
    server.streams[0]!.reset("refused");
    assert.deepEqual(codes(server), [CANCEL]);
  });

  it("drops what was queued, so that a broken body never looks complete", () => {
    const server = Probe.server();
    server.receive(headers(1, GET));
    server.streams[0]!.writeHead(OK, false);
    server.streams[0]!.writeData(Buffer.from("half"), false);
    server.streams[0]!.reset("internal");
    assert.deepEqual(
      server.drain().map((f) => f.type),
      [FRAME_RST_STREAM],
    );
    assert.equal(server.connection.bufferedBytes, 0);
  });

  it.each([
    [REFUSED_STREAM, false, /^reset refused/],
    [REFUSED_STREAM, true, /^reset cancelled: REFUSED_STREAM/],
    [CANCEL, false, /^reset cancelled/],
    [INTERNAL_ERROR, false, /^reset cancelled: INTERNAL_ERROR/],
  ])("with code %i (response begun: %p) tells the client's owner %s", (code, begun, line) => {
    const client = Probe.client();
    const { recorder } = client.request();
    client.drain();
    client.receive(...(begun ? [headers(1, [":status", "200"], false)] : []), frame(3, 0, 1, uint32(code)));
    assert.match(recorder.log.at(-1)!, line);
  });

  it("with NO_ERROR after the whole response stops the upload and harms nothing (RFC 9113 §8.1)", () => {
    const client = Probe.client();
    const { recorder, stream } = client.request({ method: "POST" }, false);
    client.drain();
    let room = 0;
    recorder.onRoom = () => room++;
    assert.equal(stream.writeData(Buffer.alloc(300_000), false), false);
    client.drain();
    client.receive(headers(1, [":status", "200"]), frame(3, 0, 1, uint32(NO_ERROR)));
    assert.equal(recorder.log.length, 1);
    assert.equal(room, 1, "an owner that waits for room is not left waiting");
    assert.equal(stream.writeData(Buffer.from("more"), false), true);
    assert.deepEqual(client.drain(), []);
    assert.equal(client.connection.activeStreams, 0);
  });

  it("of a request by onStream's null is REFUSED_STREAM, and its late frames are ignored", () => {
    const server = Probe.server();
    server.accept = () => null;
    server.receive(headers(1, POST, false), data(1, "x"), headers(1, ["t", "v"]));
    assert.deepEqual(codes(server), [REFUSED_STREAM]);
    assert.deepEqual(server.errors, []);
  });
});

describe("a connection that drains", () => {
  it("loses no request on its way: a server takes new streams until the client has seen its GOAWAY", () => {
    const { client, server } = Probe.pair();
    client.request();
    const onTheWay = client.connection.take()!;
    server.connection.goaway();
    const announced = server.connection.take()!;
    server.connection.receive(onTheWay);
    assert.equal(server.streams.length, 1);
    client.connection.receive(announced);
    assert.equal(client.connection.canRequest, false);
    pump(client.connection, server.connection);
    server.streams[0]!.writeHead(OK, true);
    pump(client.connection, server.connection);
    assert.deepEqual(client.goaways, [
      [0x7fff_ffff, NO_ERROR],
      [1, NO_ERROR],
    ]);
    assert.deepEqual(client.errors, [[NO_ERROR, "drained"]]);
    assert.deepEqual(server.errors, [[NO_ERROR, "drained"]]);
  });

  it("refuses what comes after its last GOAWAY, however much that is", () => {
    const server = Probe.server();
    server.receive(headers(1, GET));
    server.connection.goaway(REFUSED_STREAM);
    for (let i = 1; i < 500; i++) server.receive(headers(2 * i + 1, GET));
    assert.equal(codes(server).length, 499);
    assert.deepEqual(server.errors, []);
    assert.equal(server.streams.length, 1);
  });

  it("by the server's GOAWAY tells streams above the last one that they were refused, and those alone", () => {
    const client = Probe.client();
    const requests = [1, 3, 5].map(() => client.request());
    client.drain();
    const unsent = client.request();
    client.receive(frame(FRAME_GOAWAY, 0, 0, Buffer.concat([uint32(3), uint32(NO_ERROR)])));
    assert.deepEqual(
      [...requests, unsent].map((r) => r.recorder.log),
      [[], [], ["reset refused: GOAWAY"], ["reset refused: GOAWAY"]],
    );
    assert.equal(client.connection.request(new Recorder()), null);
    client.receive(headers(1, [":status", "200"]), headers(3, [":status", "200"]));
    assert.deepEqual(client.errors, [[NO_ERROR, "drained"]]);
  });

  it("ends at once where no stream is open", () => {
    const client = Probe.client();
    client.connection.goaway();
    assert.deepEqual(client.errors, [[NO_ERROR, "drained"]]);
    assert.equal(client.drain()[0]?.type, FRAME_GOAWAY);
  });
});

describe("the transport's end", () => {
  it("tells every stream: refused when its head was never taken, closed otherwise", () => {
    const client = Probe.client();
    const sent = client.request();
    client.drain();
    const unsent = client.request();
    client.connection.eof("read ECONNRESET");
    assert.deepEqual(sent.recorder.log, ["reset closed: read ECONNRESET"]);
    assert.deepEqual(unsent.recorder.log, ["reset refused: read ECONNRESET"]);
    assert.equal(client.connection.activeStreams, 0);
    sent.stream.reset("cancelled");
    assert.equal(client.connection.request(new Recorder()), null);
    assert.equal(client.connection.take(), null);
  });
});

describe("streams", () => {
  it("are opened up to the peer's limit, which is 100 before its SETTINGS", () => {
    const client = new Probe({ role: "client" });
    for (let i = 0; i < 100; i++) client.request();
    assert.equal(client.connection.canRequest, false);
    client.receive(frame(4, 0, 0, Buffer.concat([Buffer.from([0, 3]), uint32(101)])));
    assert.equal(client.connection.canRequest, true);
    client.request();
    assert.equal(client.connection.request(new Recorder()), null);
  });

  it("count as active until their last frame was taken, and onIdle tells when none is left", () => {
    const server = Probe.server();
    server.receive(headers(1, GET), headers(3, GET));
    for (const stream of server.streams) stream.writeHead(OK, true);
    assert.deepEqual([server.connection.activeStreams, server.idles], [2, 0]);
    server.drain();
    assert.deepEqual([server.connection.activeStreams, server.idles], [0, 1]);
  });

  it("tell of the end of a drain only after the last response was handed over, and ask the shell for that call", () => {
    const { client, server } = Probe.pair();
    client.request();
    pump(client.connection, server.connection);
    server.connection.goaway();
    pump(client.connection, server.connection);
    server.streams[0]!.writeHead(OK, true);
    const outputs = server.outputs;
    assert.ok(server.connection.take());
    assert.deepEqual(server.errors, [], "the shell might close before it has written");
    assert.deepEqual([server.connection.hasOutput, server.outputs], [true, outputs + 1]);
    assert.equal(server.connection.take(), null);
    assert.deepEqual(server.errors, [[NO_ERROR, "drained"]]);
    assert.equal(server.connection.hasOutput, false);
  });

  it("may be answered, reset and opened from within every event", () => {
    const { client, server } = Probe.pair();
    server.accept = (stream) => {
      const recorder = new Recorder();
      recorder.onHead = () => {
        stream.writeInterim({ ...OK, status: 103 });
        stream.writeHead(OK, false);
        stream.writeData(Buffer.from("a"), false);
      };
      recorder.onData = (_chunk, end) => {
        stream.writeData(Buffer.from("b"), end);
        // After its end a stream ignores whatever its owner still does.
        stream.writeData(Buffer.from("c"), true);
        stream.writeTrailers(["x", "y"]);
      };
      return recorder;
    };
    let opened = 0;
    const open = () => {
      const recorder = new Recorder();
      const stream = client.connection.request(recorder);
      opened++;
      stream?.writeHead({ method: "POST", target: "/", authority: "a", version: 11, fields: [], contentLength: -1 }, false);
      stream?.writeData(Buffer.from("x"), true);
      recorder.onInterim = () => {
        if (opened < 20) open();
      };
      recorder.onData = (_chunk, end) => {
        if (end && opened < 20) open();
        stream?.reset("cancelled");
      };
    };
    open();
    pump(client.connection, server.connection);
    assert.equal(opened, 20);
    assert.deepEqual([client.errors, server.errors], [[], []]);
    assert.deepEqual([client.connection.activeStreams, server.connection.activeStreams], [0, 0]);
  });

  it("leave nothing behind when they end: neither side remembers any", () => {
    const { client, server } = Probe.pair();
    server.accept = (stream) => {
      stream.writeHead(OK, true);
      return new Recorder();
    };
    for (let i = 0; i < 5000; i++) {
      client.request();
      pump(client.connection, server.connection);
    }
    assert.deepEqual([client.connection.streams.size, server.connection.streams.size], [0, 0]);
    assert.deepEqual([client.connection.bufferedBytes, server.connection.bufferedBytes], [0, 0]);
  });

  it("answer a PING and tell of its answer, number or bigint", () => {
    const pongs: (number | bigint)[] = [];
    const { client, server } = Probe.pair({ onPong: (payload) => pongs.push(payload) });
    client.connection.ping(12_345);
    client.connection.ping(0xffff_ffff_ffff_ffffn);
    pump(client.connection, server.connection);
    assert.deepEqual(pongs, [12_345, 0xffff_ffff_ffff_ffffn]);
    assert.ok(client.connection.receivedBytes > 0);
  });
});
