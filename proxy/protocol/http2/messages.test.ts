import assert from "node:assert/strict";
import type { ResponseHead } from "../stream.ts";
import { FRAME_HEADERS, FRAME_RST_STREAM, PROTOCOL_ERROR } from "./frames.ts";
import { block, data, GET, headers, POST, Probe, pump } from "./testdata/harness.ts";
import { HpackDecoder } from "./hpack/decoder.ts";

const OK: ResponseHead = { status: 200, reason: "OK", version: 11, fields: [], contentLength: -1 };
const without = (name: string): string[] => GET.filter((_, i) => GET[i - (i % 2)] !== name);
const withValue = (name: string, value: string): string[] => GET.map((text, i) => (GET[i - 1] === name ? value : text));

const MALFORMED_REQUESTS: readonly (readonly [string, string[]])[] = [
  ["a path with a space", withValue(":path", "/a b")],
  ["a path with CRLF", withValue(":path", "/ HTTP/1.1\r\nX: y")],
  ["a path with a fragment", withValue(":path", "/a#b")],
  ["a path with NUL", withValue(":path", "/a\0")],
  ["a path with DEL", withValue(":path", "/a\x7f")],
  ["an empty path", withValue(":path", "")],
  ["a path in absolute form", withValue(":path", "http://other/")],
  ["a path that does not begin with a slash", withValue(":path", "a")],
  ["* for another method than OPTIONS", withValue(":path", "*")],
  ["a method that smuggles a request line", withValue(":method", "GET / HTTP/1.1\r\nX: y")],
  ["a method with a space", withValue(":method", "GET ")],
  ["an empty method", withValue(":method", "")],
  ["CONNECT", withValue(":method", "CONNECT")],
  ["CONNECT with a protocol", [...withValue(":method", "CONNECT"), ":protocol", "websocket"]],
  ["a protocol without CONNECT", [...GET, ":protocol", "websocket"]],
  ["a scheme that is none", withValue(":scheme", "http://x")],
  ["an authority with userinfo", withValue(":authority", "user@a")],
  ["an authority with a path", withValue(":authority", "a/b")],
  ["an authority with a space", withValue(":authority", "a b")],
  ["an authority with CRLF", withValue(":authority", "a\r\nX: y")],
  ["no method", without(":method")],
  ["no scheme", without(":scheme")],
  ["no path", without(":path")],
  ["two methods", [":method", "GET", ...GET]],
  ["two paths", [":path", "/", ...GET]],
  ["two authorities", [":authority", "a", ...GET]],
  ["a status", [":status", "200", ...GET]],
  ["an unknown pseudo-header", [":x", "1", ...GET]],
  ["a pseudo-header after a field", [":method", "GET", ":scheme", "http", "a", "b", ":path", "/"]],
  ["a host other than its authority", [...GET, "host", "b"]],
  ["two hosts", [...GET, "host", "a", "host", "a"]],
  ["a host with a space, and no authority", [...without(":authority"), "host", "a b"]],
  ["connection", [...GET, "connection", "close"]],
  ["keep-alive", [...GET, "keep-alive", "timeout=5"]],
  ["proxy-connection", [...GET, "proxy-connection", "close"]],
  ["transfer-encoding", [...GET, "transfer-encoding", "chunked"]],
  ["upgrade", [...GET, "upgrade", "h2c"]],
  ["te other than trailers", [...GET, "te", "gzip"]],
  ["content-length that is no number", [...GET, "content-length", "+5"]],
  ["content-length in hex", [...GET, "content-length", "0x5"]],
  ["content-length that is a list", [...GET, "content-length", "5, 5"]],
  ["an empty content-length", [...GET, "content-length", ""]],
  ["content-length twice", [...GET, "content-length", "0", "content-length", "0"]],
  ["content-length of a body that is not there", [...GET, "content-length", "5"]],
  ["an empty field name", [...GET, "", "x"]],
  ["a field name with a colon", [...GET, "a:b", "x"]],
  ["a field name with a space", [...GET, "a b", "x"]],
  ["a field name with CRLF", [...GET, "a\r\nb", "x"]],
  ["a field name above ASCII", [...GET, "\xe4", "x"]],
  ["a value with CR", [...GET, "a", "x\ry"]],
  ["a value with LF", [...GET, "a", "x\ny"]],
  ["a value with NUL", [...GET, "a", "x\0y"]],
  ["a value with a space before it", [...GET, "a", " x"]],
  ["a value with a tab after it", [...GET, "a", "x\t"]],
];

const BOTH = [{ dialect: "weft" }, { dialect: "rfc" }] as const;

describe.each(BOTH)("a request in the $dialect dialect", ({ dialect }) => {
  it.each(MALFORMED_REQUESTS)("is refused before anything reaches the owner when it has %s", (_what, fields) => {
    const probe = Probe.server({ dialect });
    probe.receive(headers(1, fields), headers(3, GET));
    assert.deepEqual(
      probe.drain().map((f) => [f.type, f.id, f.payload.readUInt32BE(0)]),
      [[FRAME_RST_STREAM, 1, PROTOCOL_ERROR]],
    );
    assert.equal(probe.streams.length, 1, "only the well-formed request reaches an owner");
    assert.deepEqual(probe.errors, []);
  });

  it.each(Array.from({ length: 256 }, (_, octet) => octet))("passes octet %i in a value or refuses the request", (octet) => {
    const probe = Probe.server({ dialect });
    const value = `a${String.fromCharCode(octet)}b`;
    probe.receive(headers(1, [...GET, "x-a", value]));
    const allowed = octet === 9 || (octet >= 0x20 && octet !== 0x7f);
    const passed = probe.recorders.map((r) => JSON.parse(r.log[0]!.slice(5, -4)).fields);
    assert.deepEqual(passed, allowed ? [["x-a", value]] : []);
  });

  it.each([
    ["a trailer that is malformed", ["a b", "x"]],
    ["a pseudo-header among its trailers", [":path", "/"]],
    ["content-length among its trailers", ["content-length", "3"]],
    ["host among its trailers", ["host", "a"]],
    ["transfer-encoding among its trailers", ["transfer-encoding", "chunked"]],
  ])("is reset, and never looks complete, when it has %s", (_what, trailers) => {
    const probe = Probe.server({ dialect });
    probe.receive(headers(1, POST, false), data(1, "abc"), headers(1, trailers));
    assert.match(probe.recorders[0]!.log.at(-1)!, /^reset protocol/);
    assert.equal(probe.drain()[0]?.payload.readUInt32BE(0), PROTOCOL_ERROR);
  });

  it.each([
    ["one octet more than content-length says", [data(1, "abc"), data(1, "def", true)], "5"],
    ["one octet less", [data(1, "abcd", true)], "5"],
    ["trailers before the last octet", [data(1, "abcd"), headers(1, ["a", "b"])], "5"],
    ["an octet where there should be none", [data(1, "a", true)], "0"],
  ])("is reset with PROTOCOL_ERROR when its body has %s", (_what, frames, length) => {
    const probe = Probe.server({ dialect });
    probe.receive(headers(1, [...POST, "content-length", length], false), ...frames);
    const recorder = probe.recorders[0]!;
    assert.match(recorder.log.at(-1)!, /^reset protocol: DATA (beyond|short of) content-length/);
    assert.equal(recorder.ended, false);
    assert.equal(probe.drain()[0]?.payload.readUInt32BE(0), PROTOCOL_ERROR);
  });

  it("keeps what a well-formed one says", () => {
    const probe = Probe.server({ dialect });
    probe.receive(
      headers(1, [...withValue(":path", "/\xe4?q=%20"), "te", "trailers", "x", "", "content-length", "3", "host", "A"], false),
      data(1, "ab"),
      data(1, "c"),
      headers(1, ["t", "1"]),
    );
    const head = {
      method: "GET",
      target: "/\xe4?q=%20",
      authority: "a",
      version: dialect === "weft" ? 11 : 20,
      fields: ["te", "trailers", "x", ""],
      contentLength: 3,
    };
    assert.deepEqual(probe.recorders[0]!.log, [`head ${JSON.stringify(head)}`, "data abc", 'trailers ["t","1"]']);
  });

  it("has no field that claims to be ours, in whatever case", () => {
    const probe = Probe.server({ dialect });
    const names = dialect === "weft" ? ["Weft-Peer", "weft_peer", "WEFT-x", "weft-a"] : ["weft-peer", "weft_peer", "weft-a"];
    probe.receive(headers(1, [...GET, ...names.flatMap((name) => [name, "spoofed"]), "x-weft", "stays"]));
    assert.match(probe.recorders[0]!.log[0]!, /"fields":\["x-weft","stays"\]/);
  });
});

describe("a message between sidecars", () => {
  it("keeps its fields' octets, order and case, its version and its reason phrase", () => {
    const { client, server } = Probe.pair();
    const fields = ["User-Agent", "x", "X-UPPER", "\xff", "Cookie", "a=1", "Cookie", "b=2", "accept", "", "x-upper", "again"];
    const { recorder } = client.request({ method: "PUT", target: "/p?q", authority: "", version: 10, fields, contentLength: 0 });
    pump(client.connection, server.connection);
    const head = { method: "PUT", target: "/p?q", authority: "", version: 10, fields, contentLength: 0 };
    assert.deepEqual(server.recorders[0]!.log, [`head ${JSON.stringify(head)} end`]);
    const answer: ResponseHead = {
      status: 299,
      reason: "Quite Fine",
      version: 20,
      fields: ["Set-Cookie", "a=1", "Set-Cookie", "b=2"],
      contentLength: 2,
    };
    server.streams[0]!.writeHead(answer, false);
    server.streams[0]!.writeData(Buffer.from("hi"), true);
    pump(client.connection, server.connection);
    assert.deepEqual(recorder.log, [`head ${JSON.stringify(answer)}`, "data hi", "end"]);
  });

  it.each([
    [200, "OK"],
    [200, ""],
    [404, "Nope"],
    [599, ""],
  ])("carries status %i with reason %p", (status, reason) => {
    const { client, server } = Probe.pair();
    const { recorder } = client.request();
    pump(client.connection, server.connection);
    server.streams[0]!.writeHead({ ...OK, status, reason }, true);
    pump(client.connection, server.connection);
    assert.deepEqual(recorder.log, [`head ${JSON.stringify({ ...OK, status, reason })} end`]);
  });

  it.each(["\r\nX: y", "x".repeat(257), " x"])("drops a reason phrase that no status line may have: %j", (reason) => {
    const { client, server } = Probe.pair();
    const { recorder } = client.request();
    pump(client.connection, server.connection);
    server.streams[0]!.writeHead({ ...OK, reason }, true);
    pump(client.connection, server.connection);
    assert.deepEqual(recorder.log, [`head ${JSON.stringify(OK)} end`]);
  });

  it("never sends what an owner must not pass on", () => {
    const client = Probe.client();
    client.request({
      fields: [
        "Connection",
        "close",
        "Transfer-Encoding",
        "chunked",
        "weft-reason",
        "x",
        "Host",
        "b",
        "a:b",
        "c",
        "Content-Length",
        "9",
        "kept",
        "1",
      ],
    });
    const decoder = new HpackDecoder({ listBytes: 9999, fields: 99, cookieCrumbs: false });
    const sent = client.drain()[0]!.payload;
    assert.equal(decoder.decode(sent, 0, sent.length), "");
    assert.deepEqual(decoder.names.slice(0, decoder.count), [":method", ":scheme", ":path", ":authority", "kept"]);
  });

  it.each([["1.1"], ["3"], [""], ["2.0"]])("is malformed when it claims version %j", (version) => {
    const probe = Probe.server();
    probe.receive(headers(1, [...GET, "weft-http-version", version]));
    assert.equal(probe.streams.length, 0);
  });
});

describe("a message of a foreign peer", () => {
  it.each([
    ["a field name in upper case", [...GET, "X-A", "b"]],
    ["a forbidden name in upper case", [...GET, "Transfer-Encoding", "chunked"]],
  ])("is malformed when it has %s", (_what, fields) => {
    const probe = Probe.server({ dialect: "rfc" });
    probe.receive(headers(1, fields));
    assert.equal(probe.streams.length, 0);
  });

  it("has its cookies joined, where the first of them stood", () => {
    const probe = Probe.server({ dialect: "rfc" });
    probe.receive(headers(1, [...GET, "a", "1", "cookie", "x=1", "b", "2", "cookie", "y=2", "cookie", "z=3"]));
    assert.match(probe.recorders[0]!.log[0]!, /"fields":\["a","1","cookie","x=1; y=2; z=3","b","2"\]/);
  });

  it("goes out with field names in lower case", () => {
    const { client, server } = Probe.pair({ dialect: "rfc" }, { dialect: "rfc" });
    client.request({ fields: ["X-Mixed", "Value"] });
    pump(client.connection, server.connection);
    assert.match(server.recorders[0]!.log[0]!, /"fields":\["x-mixed","Value"\]/);
  });
});

describe("a response", () => {
  const answer = (...frames: Buffer[]): string[] => {
    const client = Probe.client();
    const { recorder } = client.request();
    client.drain();
    client.receive(...frames);
    return recorder.log;
  };

  it.each([
    ["no status", []],
    ["status 101", [":status", "101"]],
    ["a status of two digits", [":status", "20"]],
    ["a status of four digits", [":status", "2000"]],
    ["a status with a sign", [":status", "+20"]],
    ["a status that starts with zero", [":status", "099"]],
    ["a path", [":status", "200", ":path", "/"]],
    ["a host", [":status", "200", "host", "a"]],
    ["two statuses", [":status", "200", ":status", "200"]],
  ])("with %s is malformed", (_what, fields) => {
    assert.match(answer(headers(1, fields)).join(), /^reset protocol/);
  });

  it("may be preceded by interim responses, which never end a stream", () => {
    const interim = (end: boolean) => headers(1, [":status", "103", "link", "</a>"], end);
    assert.deepEqual(answer(interim(false), interim(false), headers(1, [":status", "204"]))[1], "interim 103");
    assert.match(answer(interim(true)).join(), /^reset protocol/);
  });

  it("to HEAD tells the length of a body that does not follow, and must have none", () => {
    const client = Probe.client();
    const first = client.request({ method: "HEAD" });
    const second = client.request({ method: "HEAD" });
    client.drain();
    client.receive(headers(1, [":status", "200", "content-length", "9"], false), data(1, "", true));
    client.receive(headers(3, [":status", "200", "content-length", "9"], false), data(3, "123456789", true));
    assert.match(first.recorder.log.join("|"), /"contentLength":9}\|end$/);
    assert.match(second.recorder.log.join("|"), /reset protocol: DATA of a response without body$/);
  });

  it.each([204, 304])("with status %i must have no body", (status) => {
    assert.match(answer(headers(1, [":status", String(status)], false), data(1, "x", true)).join("|"), /reset protocol/);
  });

  it("is written with its head, its body and its end in one buffer, without an empty frame", () => {
    const server = Probe.server();
    server.receive(headers(1, GET), headers(3, GET));
    server.streams[0]!.writeHead({ ...OK, contentLength: 2 }, false);
    server.streams[0]!.writeData(Buffer.from("h"), false);
    server.streams[0]!.writeData(Buffer.from("i"), true);
    server.streams[1]!.writeHead(OK, false);
    server.streams[1]!.writeData(Buffer.alloc(0), true);
    const out = server.connection.take();
    assert.equal(server.connection.take(), null);
    const client = Probe.client();
    const a = client.request();
    const b = client.request();
    client.drain();
    client.receive(out!);
    assert.deepEqual(a.recorder.log, [`head ${JSON.stringify({ ...OK, contentLength: 2 })}`, "data hi", "end"]);
    assert.deepEqual(b.recorder.log, [`head ${JSON.stringify(OK)} end`]);
  });

  it("of a head above one frame goes out as HEADERS and CONTINUATION without a gap", () => {
    const { client, server } = Probe.pair();
    const fields = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? `x-${i}` : `${i}`.padEnd(1200, "v")));
    client.request({ fields });
    const other = client.request();
    const frames = client.drain();
    assert.deepEqual(
      frames.map((f) => [f.type, f.flags, f.id, f.payload.length > 16_384]),
      [
        [1, 1, 1, false],
        [9, 0, 1, false],
        [9, 0, 1, false],
        [9, 4, 1, false],
        [1, 5, 3, false],
      ],
    );
    const again = Probe.client();
    again.request({ fields });
    pump(again.connection, server.connection);
    assert.match(server.recorders[0]!.log[0]!, /"x-98","99v+"/);
    assert.ok(other);
  });

  it("to a head above the limits is 431, with the reason at hand, and the stream is closed", () => {
    const { client, server } = Probe.pair({}, { limits: { headerListBytes: 8192 } });
    const { recorder } = client.request({ method: "POST", fields: ["x", "v".repeat(9000)] }, false);
    pump(client.connection, server.connection);
    assert.match(recorder.log[0]!, /^head {"status":431,.*} end$/);
    assert.equal(server.streams.length, 0);
    assert.deepEqual([client.connection.activeStreams, server.connection.activeStreams], [0, 0]);
  });
});

it("HEADERS of the harness are what the decoder reads", () => {
  const long = block(["a".repeat(200), "b".repeat(20_000)]);
  const decoder = new HpackDecoder({ listBytes: 1e6, fields: 9, cookieCrumbs: false });
  assert.equal(decoder.decode(long, 0, long.length), "");
  assert.deepEqual([decoder.names[0]!.length, decoder.values[0]!.length, FRAME_HEADERS], [200, 20_000, 1]);
});
