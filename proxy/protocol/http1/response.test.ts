import assert from "node:assert/strict";
import { EVENT, ResponseDecoder } from "./decoder.ts";
import { latin1, playResponse, pull, type Seen } from "./testdata/play.ts";

const response = (line: string, ...fields: string[]): string => `${[line, ...fields].join("\r\n")}\r\n\r\n`;
const ok = (...fields: string[]): string => response("HTTP/1.1 200 OK", ...fields);
const toGet = (wire: string): Seen[] => playResponse("GET", false, wire);
const events = (seen: Seen[]): string[] => seen.map(({ event }) => event);

describe("a status line", () => {
  it.each([
    ["HTTP/1.1 200 OK", 200, "OK"],
    ["HTTP/1.1 200 ", 200, ""],
    ["HTTP/1.1 200", 200, ""],
    ["HTTP/1.1 999 \xff\t!", 999, "\xff\t!"],
    ["HTTP/1.0 404 Not Found", 404, "Not Found"],
  ])("%j is %d, %j", (line, status, reason) => {
    const head = toGet(response(line, "Content-Length: 0"))[0]!;
    assert.deepEqual([head.event, head["status"], head["reason"]], ["HEAD", status, reason]);
  });

  it.each(
    [
      "HTTP/1.1 99 x",
      "HTTP/1.1 099 x",
      "HTTP/1.1 1000 x",
      "HTTP/1.1  200 OK",
      "HTTP/1.1 200OK",
      "HTTP/1.1 20O OK",
      "HTTP/1.2 200 OK",
      "HTTP/2 200 OK",
    ].concat(["http/1.1 200 OK", "ICY 200 OK", "HTTP/1.1", "200 OK", "HTTP/1.1 200 O\x01K", "HTTP/1.1 200 O\rK"]),
  )("%j is refused", (line) => {
    assert.equal(toGet(response(line))[0]?.["code"], "WEFT_UPSTREAM_PROTOCOL");
  });

  it("is not preceded by an empty line", () => {
    assert.equal(toGet(`\r\n${ok()}`)[0]?.event, "ERROR");
  });
});

describe("a response's body", () => {
  it("is absent after HEAD, 204 and 304, whatever the head announces", () => {
    const announced = "Content-Length: 5";
    assert.equal(playResponse("HEAD", false, ok(announced))[0]?.["contentLength"], 5);
    assert.equal(playResponse("HEAD", false, ok("Transfer-Encoding: chunked"))[0]?.["end"], true);
    assert.equal(toGet(response("HTTP/1.1 304 x", announced))[0]?.["contentLength"], 5);
    const noContent = toGet(response("HTTP/1.1 204 x", announced))[0]!;
    assert.deepEqual([noContent["end"], noContent["contentLength"], noContent["keepAlive"]], [true, -1, false]);
  });

  it("ends with the connection when nothing else says where, and the connection is then not reused", () => {
    const seen = toGet(`${ok()}abc`);
    assert.deepEqual(events(seen), ["HEAD", "DATA", "END"]);
    assert.equal(seen[0]?.["keepAlive"], false);
  });

  it.each([
    [ok("Content-Length: 5", "Content-Length: 5")],
    [ok("Content-Length: 5", "Transfer-Encoding: chunked")],
    [ok("Transfer-Encoding: gzip")],
    [ok("Transfer-Encoding: gzip, chunked")],
    [ok("Content-Length: ")],
    [response("HTTP/1.0 200 OK", "Transfer-Encoding: chunked")],
    [ok("Content-Length: 5", " x")],
  ])("is refused when its end is in doubt: %j", (wire) => {
    assert.equal(toGet(wire)[0]?.["status"], 502);
  });

  it("never looks complete when the connection ends inside it", () => {
    for (const wire of [
      `${ok("Content-Length: 5")}abc`,
      `${ok("Transfer-Encoding: chunked")}5\r\nabc`,
      `${ok("Transfer-Encoding: chunked")}3\r\nabc\r\n0\r\n`,
    ]) {
      const seen = toGet(wire);
      assert.deepEqual(events(seen), ["HEAD", "DATA", "ERROR"]);
      assert.deepEqual([seen[1]?.["end"], seen[2]?.["truncated"]], [false, true]);
    }
  });
});

describe("trailers of a response", () => {
  const chunked = (...trailers: string[]): string =>
    `${ok("Transfer-Encoding: chunked")}0\r\n${trailers.map((line) => `${line}\r\n`).join("")}\r\n`;

  it("keep what may stand there and lose what may not", () => {
    const seen = toGet(chunked("grpc-status: 0", "Set-Cookie: a", "Connection: close", "Host: b", "X-Forwarded-For: c", "X-Sum: d"));
    assert.deepEqual(seen[1], { event: "TRAILERS", trailers: ["grpc-status", "0", "X-Sum", "d"] });
  });

  it("are refused with framing fields or malformed lines", () => {
    for (const line of ["Content-Length: 1", "Transfer-Encoding: chunked", "X : y", ": y", "X: a\nb", " X: y", "Content_Length: 1"]) {
      assert.equal(toGet(chunked(line))[1]?.event, "ERROR", line);
    }
  });

  it("are bounded like a head", () => {
    assert.equal(toGet(chunked(`X: ${"v".repeat(65_536)}`))[1]?.event, "ERROR");
    assert.equal(toGet(chunked(...Array.from({ length: 201 }, (_, i) => `X-${i}: y`)))[1]?.event, "ERROR");
  });
});

describe("interim responses", () => {
  const interim = response("HTTP/1.1 103 Early Hints", "Link: x");

  it("come before the final one, up to 32", () => {
    assert.deepEqual(events(toGet(interim.repeat(32) + ok("Content-Length: 0"))), [...Array<string>(32).fill("INTERIM"), "HEAD"]);
    assert.equal(toGet(interim.repeat(33)).at(-1)?.event, "ERROR");
  });

  it("have no body", () => {
    assert.equal(toGet(response("HTTP/1.1 100 Continue", "Content-Length: 5"))[0]?.event, "ERROR");
    assert.equal(toGet(response("HTTP/1.1 100 Continue", "Transfer-Encoding: chunked"))[0]?.event, "ERROR");
    assert.equal(toGet(response("HTTP/1.1 100 Continue", "Content-Length: 0"))[0]?.["contentLength"], -1);
  });

  it("that say close leave the final response to be read, and no more", () => {
    const seen = toGet(response("HTTP/1.1 100 Continue", "Connection: close") + ok("Content-Length: 0"));
    assert.deepEqual(events(seen), ["INTERIM", "HEAD"]);
    assert.equal(seen[1]?.["keepAlive"], false);
  });
});

describe("101", () => {
  const switching = response("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket");

  it("switches when the request asked for it, and leaves the bytes that follow to others", () => {
    const decoder = new ResponseDecoder();
    decoder.expect("GET", true);
    decoder.push(latin1(`${switching}\x81\x00`));
    const seen = pull(decoder, []);
    assert.deepEqual([seen.length, seen[0]?.event, seen[0]?.["upgrade"]], [1, "SWITCH", "websocket"]);
    assert.equal(decoder.remainder().toString("latin1"), "\x81\x00");
  });

  it("is refused when nobody asked, or without the fields that make it one", () => {
    assert.equal(playResponse("GET", false, switching)[0]?.event, "ERROR");
    assert.equal(playResponse("GET", true, response("HTTP/1.1 101 x"))[0]?.event, "ERROR");
  });

  it("is the only switch: 200 to a request for an upgrade is a response", () => {
    assert.equal(playResponse("GET", true, ok("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"))[0]?.event, "HEAD");
  });
});

describe("bytes where no response is due", () => {
  it("are an error before the first request", () => {
    const decoder = new ResponseDecoder();
    decoder.push(latin1("H"));
    assert.equal(decoder.next(), EVENT.ERROR);
    assert.equal(decoder.error?.detail.startsWith("unsolicited"), true);
  });

  it("are an error behind a response, and answer no later request", () => {
    const decoder = new ResponseDecoder();
    decoder.expect("GET");
    decoder.push(latin1(ok("Content-Length: 0") + ok("Content-Length: 0")));
    assert.equal(decoder.next(), EVENT.HEAD);
    decoder.expect("GET");
    assert.equal(decoder.next(), EVENT.ERROR);
  });

  it("do not exist on a connection that is reused properly", () => {
    const decoder = new ResponseDecoder();
    for (let i = 0; i < 3; i++) {
      decoder.expect("GET");
      assert.equal(decoder.started, false);
      decoder.push(latin1(ok("Content-Length: 0")));
      assert.equal(decoder.started, true);
      assert.equal(decoder.next(), EVENT.HEAD);
      assert.equal(decoder.next(), EVENT.NEED);
    }
  });

  it("are told from a connection that ended before the response", () => {
    assert.deepEqual(
      toGet("").map((seen) => [seen["truncated"], seen["detail"]]),
      [[true, "connection ended before the response"]],
    );
  });
});
