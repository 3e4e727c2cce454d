import assert from "node:assert/strict";
import fc from "fast-check";
import type { ResponseHead } from "../stream.ts";
import { block, data, frame, GET, HELLO, headers, POST, Probe, SETTINGS, uint32 } from "./testdata/harness.ts";

const OK: ResponseHead = {
  status: 200,
  reason: "OK",
  version: 11,
  fields: ["Content-Type", "text/plain", "x-request-id", "1"],
  contentLength: -1,
};

/** What a real pair says to each other: requests with and without bodies, trailers, interims, resets, drain. */
function record(dialect: "weft" | "rfc"): { up: Buffer; down: Buffer } {
  const client = new Probe({ role: "client", dialect });
  const server = new Probe({ role: "server", dialect });
  const up: Buffer[] = [];
  const down: Buffer[] = [];
  const exchange = () => {
    for (;;) {
      const toServer = client.connection.take();
      if (toServer !== null) up.push(toServer);
      if (toServer !== null) server.connection.receive(toServer);
      const toClient = server.connection.take();
      if (toClient !== null) down.push(toClient);
      if (toClient !== null) client.connection.receive(toClient);
      if (toServer === null && toClient === null) return;
    }
  };
  for (let i = 0; i < 3; i++) {
    client.request({ target: `/items/${i}`, fields: ["accept", "*/*", "authorization", "secret", "traceparent", `00-${i}`] });
    const upload = client.request({ method: "POST", contentLength: 5 }, false).stream;
    upload.writeData(Buffer.from("hello"), true);
    const trailing = client.request({ method: "PUT" }, false).stream;
    trailing.writeData(Buffer.from("body"), false);
    trailing.writeTrailers(["checksum", "1"]);
    exchange();
    for (const stream of server.streams.splice(0)) {
      stream.writeInterim({ ...OK, status: 103 });
      stream.writeHead(OK, false);
      stream.writeData(Buffer.from(`answer ${i}`), i === 0);
      stream.writeTrailers(["grpc-status", "0"]);
    }
    exchange();
  }
  client.request({ method: "POST" }, false).stream.reset("cancelled");
  client.connection.ping(1);
  client.request({ method: "POST" }, false);
  exchange();
  server.streams.splice(0)[0]!.reset("overload");
  exchange();
  return { up: Buffer.concat(up), down: Buffer.concat(down) };
}

/** Everything that a server's owners are told of these bytes, and what happened to the connection. */
function serve(pieces: readonly Buffer[], dialect: "weft" | "rfc"): unknown {
  const probe = new Probe({ role: "server", dialect });
  for (const piece of pieces) probe.connection.receive(Buffer.from(piece));
  return { logs: probe.recorders.map((r) => r.log), errors: probe.errors, active: probe.connection.activeStreams };
}

/** The same of a client that has sent as many requests as the recorded one. */
function ask(pieces: readonly Buffer[], dialect: "weft" | "rfc"): unknown {
  const probe = new Probe({ role: "client", dialect });
  const recorders = Array.from({ length: 10 }, (_, i) => probe.request({ method: i % 3 === 0 ? "GET" : "POST" }, i % 3 === 0).recorder);
  probe.drain();
  for (const piece of pieces) probe.connection.receive(Buffer.from(piece));
  return { logs: recorders.map((r) => r.log), errors: probe.errors, active: probe.connection.activeStreams };
}

const cut = (bytes: Buffer, at: readonly number[]): Buffer[] => {
  const places = [0, ...at.map((n) => n % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
};

/** A transcript with what no peer of ours would write: padding, priority, CONTINUATION, unknown frames, and an end by error. */
const ODD = Buffer.concat([
  HELLO,
  frame(1, 0x2c, 1, Buffer.concat([Buffer.from([3, 0, 0, 0, 0, 9]), block(POST), Buffer.alloc(3)])),
  frame(0, 8, 1, Buffer.concat([Buffer.from([4]), Buffer.from("padded"), Buffer.alloc(4)])),
  frame(0x77, 0xff, 1, "unknown"),
  data(1, ""),
  data(1, "plain", true),
  frame(1, 1, 3, block(GET).subarray(0, 7)),
  frame(9, 0, 3, block(GET).subarray(7, 8)),
  frame(9, 4, 3, Buffer.concat([block(GET).subarray(8), block(["x", "y"])])),
  headers(5, [...POST, "content-length", "4"], false),
  data(5, "abcdef"),
  headers(7, [":method", "GET"]),
  frame(6, 0, 0, Buffer.alloc(8)),
  frame(8, 0, 0, uint32(9)),
  SETTINGS,
  frame(5, 4, 1, Buffer.alloc(4)),
  headers(9, GET),
]);

describe.each([{ dialect: "weft" }, { dialect: "rfc" }] as const)("a transcript in the $dialect dialect", ({ dialect }) => {
  const { up, down } = record(dialect);
  const cases = [
    { name: "of a client", bytes: up, read: serve },
    { name: "of a server", bytes: down, read: ask },
    { name: "of an odd client", bytes: ODD, read: serve },
  ];

  it.each(cases)("$name reads the same wherever the network cuts it once", ({ bytes, read }) => {
    const whole = read([bytes], dialect);
    for (let at = 0; at <= bytes.length; at++) assert.deepEqual(read(cut(bytes, [at]), dialect), whole, `cut at ${at}`);
  });

  it.each(cases)("$name reads the same octet by octet", ({ bytes, read }) => {
    assert.deepEqual(
      read(
        [...bytes].map((octet) => Buffer.from([octet])),
        dialect,
      ),
      read([bytes], dialect),
    );
  });

  it.each(cases)("$name reads the same in any pieces", ({ bytes, read }) => {
    const whole = read([bytes], dialect);
    fc.assert(
      fc.property(fc.array(fc.nat(100_000), { maxLength: 40 }), (places) => {
        assert.deepEqual(read(cut(bytes, places), dialect), whole);
      }),
      { numRuns: 200 },
    );
  });

  it("tells what it should", () => {
    const text = JSON.stringify(serve([up], dialect));
    assert.match(text, /data hello.*trailers \[\\"checksum\\",\\"1\\"\]/);
    assert.match(JSON.stringify(ask([down], dialect)), /interim 103.*answer 2.*grpc-status.*reset refused: REFUSED_STREAM/);
  });
});

describe("mutated frames", () => {
  /** A small generator of our own (mulberry32): 10^5 sequences in seconds, the same every time. */
  const randoms = (seed: number) => () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const transcripts = [
    { role: "server", bytes: record("weft").up },
    { role: "server", bytes: ODD },
    { role: "client", bytes: record("weft").down },
  ] as const;

  function mutate(bytes: Buffer, random: () => number): Buffer {
    const copy = Buffer.from(bytes);
    const changes = 1 + Math.floor(random() * 4);
    for (let i = 0; i < changes; i++) {
      const at = Math.floor(random() * copy.length);
      const kind = random();
      if (kind < 0.6) copy[at] = Math.floor(random() * 256);
      else if (kind < 0.8) copy[at]! ^= 1 << Math.floor(random() * 8);
      else copy.copyWithin(at, Math.floor(random() * copy.length), Math.floor(random() * copy.length));
    }
    return copy;
  }

  it("never make it throw, hold much, leave an owner without an end, or pass on what breaks its length", () => {
    const random = randoms(7);
    let accepted = 0;
    for (let round = 0; round < 100_000; round++) {
      const { role, bytes } = transcripts[round % transcripts.length]!;
      const probe = new Probe({ role, dialect: round % 2 === 0 ? "weft" : "rfc" });
      const own = role === "client" ? [0, 1, 2].map(() => probe.request({ method: "POST" }, false).recorder) : probe.recorders;
      probe.connection.take();
      const mutated = mutate(bytes, random);
      const at = Math.floor(random() * mutated.length);
      probe.connection.receive(mutated.subarray(0, at));
      probe.connection.receive(mutated.subarray(at));
      assert.ok(probe.connection.bufferedBytes < 200_000, `round ${round}`);
      while (probe.connection.hasOutput) if (probe.connection.take() === null) break;
      probe.connection.eof("end");
      assert.equal(probe.connection.activeStreams, 0, `round ${round}`);
      for (const recorder of own) {
        const log = recorder.log;
        const ends = log.filter(
          (line) => line.startsWith("reset") || line === "end" || line.startsWith("trailers") || line.endsWith(" end"),
        );
        assert.ok(ends.length <= 2 && (recorder.ended || log.at(-1)!.startsWith("reset")), `round ${round}: ${log.join(" | ")}`);
      }
      accepted += own.length;
    }
    assert.ok(accepted > 100_000);
  }, 300_000);
});
