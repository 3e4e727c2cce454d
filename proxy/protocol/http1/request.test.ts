import assert from "node:assert/strict";
import { EVENT, RequestDecoder } from "./decoder.ts";
import { latin1, play, playRequest, type Seen } from "./testdata/play.ts";

const request = (line: string, ...fields: string[]): string => `${[line, ...fields].join("\r\n")}\r\n\r\n`;
const get = (...fields: string[]): string => request("GET / HTTP/1.1", "Host: a", ...fields);
const post = (...fields: string[]): string => request("POST / HTTP/1.1", "Host: a", ...fields);

/** "400" and the like, or the event that came first. */
function outcome(wire: string): string {
  const first = playRequest(wire).at(0);
  return first?.event === "ERROR" ? String(first["status"]) : String(first?.event);
}
const head = (wire: string): Seen => playRequest(wire)[0]!;

describe("a request line", () => {
  it.each([
    ["GET / HTTP/1.1", "HEAD", "is plain"],
    ["GET  / HTTP/1.1", "400", "has two spaces"],
    ["GET /  HTTP/1.1", "400", "has two spaces before the version"],
    ["GET\t/ HTTP/1.1", "400", "has HTAB for SP"],
    [" GET / HTTP/1.1", "400", "begins with SP"],
    ["GET / HTTP/1.1 ", "400", "ends with SP"],
    ["GET /", "400", "is of HTTP/0.9"],
    ["GET / HTTP/0.9", "505", "says HTTP/0.9"],
    ["GET / HTTP/1.2", "505", "says HTTP/1.2"],
    ["GET / HTTP/2.0", "505", "says HTTP/2.0"],
    ["PRI * HTTP/2.0", "505", "is the HTTP/2 preface"],
    ["GET / http/1.1", "400", "has the version in lower case"],
    ["GET / HTTP/1.10", "400", "has a version of two digits"],
    ["G@T / HTTP/1.1", "400", "has a method that is no token"],
    ["get / HTTP/1.1", "HEAD", "has another method: they are case-sensitive tokens"],
    ["CONNECT a:443 HTTP/1.1", "501", "asks for a tunnel"],
    ["CONNECT / HTTP/1.1", "501", "asks for a tunnel, wrongly"],
    ["GET a:80 HTTP/1.1", "400", "has authority-form"],
    ["GET index.html HTTP/1.1", "400", "has no form"],
    ["GET * HTTP/1.1", "400", 'has "*" without OPTIONS'],
    ["OPTIONS * HTTP/1.1", "HEAD", 'has "*" with OPTIONS'],
    ["GET /a#b HTTP/1.1", "400", "has a fragment"],
    ["GET http://a/b#c HTTP/1.1", "400", "has a fragment in absolute-form"],
    ["GET ftp://a/ HTTP/1.1", "400", "has another scheme"],
    ["GET http:///x HTTP/1.1", "400", "has an empty authority"],
    ["GET http://u@a/ HTTP/1.1", "400", "has userinfo"],
    ["GET /\x80 HTTP/1.1", "400", "has an octet above 0x7e"],
    ["GET /\x00 HTTP/1.1", "400", "has NUL"],
    ["GET /a\rb HTTP/1.1", "400", "has a bare CR"],
  ])("%j gives %s, because it %s", (line, expected) => {
    assert.equal(outcome(request(line, "Host: a")), expected);
  });

  it("is refused before the rest of the head has come", () => {
    assert.equal(outcome("GET / HTTP/1.7\r\n"), "505");
    const decoder = new RequestDecoder();
    decoder.push(latin1("\x16\x03\x01\x02"));
    assert.equal(decoder.next(), EVENT.ERROR);
  });

  it.each([
    ["GET http://b/x?y HTTP/1.1", "/x?y", "b"],
    ["GET HTTP://b:81 HTTP/1.1", "/", "b:81"],
    ["GET https://b?y HTTP/1.1", "/?y", "b"],
    ["GET http://[::1]:81//x HTTP/1.1", "//x", "[::1]:81"],
    ["OPTIONS http://b HTTP/1.1", "*", "b"],
    ["GET //b/x HTTP/1.1", "//b/x", "a"],
  ])("%j has target %s and authority %s, whatever Host says", (line, target, authority) => {
    assert.deepEqual([head(request(line, "Host: a"))["target"], head(request(line, "Host: a"))["authority"]], [target, authority]);
  });
});

describe("Host", () => {
  it.each([
    ["a", "HEAD"],
    ["a.b-c_d.svc:8080", "HEAD"],
    ["127.0.0.1:1", "HEAD"],
    ["[fe80::1]:65535", "HEAD"],
    ["a:", "HEAD"],
    ["%41", "HEAD"],
    ["", "400"],
    [":80", "400"],
    ["a:65536", "400"],
    ["a:8o", "400"],
    ["a:1:2", "400"],
    ["a b", "400"],
    ["a,b", "400"],
    ["u@a", "400"],
    ["a/b", "400"],
    ["a?b", "400"],
    ["%4", "400"],
    ["[::1", "400"],
    ["[::1]x", "400"],
    ["[a]", "400"],
    ["[fe80::1%25eth0]", "400"],
    ["\xe9", "400"],
  ])("%j gives %s", (value, expected) => {
    assert.equal(outcome(request("GET / HTTP/1.1", `Host: ${value}`)), expected);
  });

  it("is exactly one in HTTP/1.1", () => {
    assert.equal(outcome(request("GET / HTTP/1.1")), "400");
    assert.equal(outcome(get("Host: a")), "400");
    assert.equal(outcome(get("hOsT: b")), "400");
  });

  it("may be absent in HTTP/1.0, but not twice", () => {
    assert.equal(head(request("GET / HTTP/1.0"))["authority"], "");
    assert.equal(outcome(request("GET / HTTP/1.0", "Host: a", "Host: a")), "400");
  });

  it("is checked even when the target says who is meant", () => {
    assert.equal(outcome(request("GET http://b/ HTTP/1.1", "Host: a b")), "400");
  });
});

describe("a field line", () => {
  it.each([
    ["X : y", "white space before the colon"],
    ["X\t: y", "HTAB before the colon"],
    [" X: y", "leading white space, which folds it into the line before"],
    [": y", "an empty name"],
    ["X", "no colon"],
    ["X(: y", "a name that is no token"],
    ["X\xe9: y", "a name above 0x7f"],
    ["X: a\rb", "a bare CR"],
    ["X: a\nY: b", "a bare LF"],
    ["X: \r\r", "CR CR LF"],
    ["Transfer_Encoding: chunked", "a name that CGI servers read as a framing field"],
    ["Transfer-Encoding_: chunked\r\nContent_Length: 5", "another"],
  ])("%j is refused, because it has %s", (line) => {
    assert.equal(outcome(get(line)), "400");
  });

  it("is refused with any control octet in its name or value, and passes every other value octet unchanged", () => {
    const wrong: string[] = [];
    for (let c = 0; c < 256; c++) {
      const octet = String.fromCharCode(c);
      const seen = playRequest(get(`X: a${octet}b`))[0]!;
      const legal = c === 0x09 || (c >= 0x20 && c !== 0x7f);
      const right = legal ? seen.event === "HEAD" && (seen["fields"] as string[])[1] === `a${octet}b` : seen["status"] === 400;
      const isToken = /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(octet);
      const inName = outcome(get(`X${octet}Y: z`));
      // "X:Y: z" is a field X with the value "Y: z".
      if (!right || (inName === "HEAD") !== (isToken || octet === ":")) wrong.push(c.toString(16));
    }
    assert.deepEqual(wrong, []);
  });

  it("loses only the white space around its value", () => {
    assert.deepEqual(head(get("X:\t a\t b \t", "Y:", "Z: "))["fields"], ["X", "a\t b", "Y", "", "Z", ""]);
  });

  it("keeps the octets of its name and its order", () => {
    assert.deepEqual(head(get("B: 1", "a: 2", "B: 3"))["fields"], ["B", "1", "a", "2", "B", "3"]);
  });
});

describe("a request's length", () => {
  it.each([
    [["Content-Length: 5"], "HEAD"],
    [["Content-Length: 5", "Content-Length: 5"], "400"],
    [["Content-Length: 5", "Content-Length: 6"], "400"],
    [["Content-Length: 5,5"], "400"],
    [["Content-Length: +5"], "400"],
    [["Content-Length: -5"], "400"],
    [["Content-Length: 0x5"], "400"],
    [["Content-Length: 5 5"], "400"],
    [["Content-Length: 5.0"], "400"],
    [["Content-Length: 5e0"], "400"],
    [["Content-Length:"], "400"],
    [["Content-Length: \xb2"], "400"],
    [["Content-Length: 9007199254740991"], "HEAD"],
    [["Content-Length: 9007199254740992"], "400"],
    [["Content-Length: 18446744073709551621"], "400"],
    [["Transfer-Encoding: chunked"], "HEAD"],
    [["Transfer-Encoding: CHUNKED"], "HEAD"],
    [["Transfer-Encoding: chunked", "Content-Length: 5"], "400"],
    [["Content-Length: 0", "Transfer-Encoding: chunked"], "400"],
    [["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "400"],
    [["Transfer-Encoding: identity", "Transfer-Encoding: chunked"], "400"],
    [["Transfer-Encoding: chunked, identity"], "400"],
    [["Transfer-Encoding: chunked, chunked"], "400"],
    [["Transfer-Encoding: chunked;q=1"], "400"],
    [["Transfer-Encoding: xchunked"], "400"],
    [["Transfer-Encoding: identity"], "400"],
    [["Transfer-Encoding: ,chunked"], "400"],
    [["Transfer-Encoding: \xa0chunked"], "400"],
    [["Transfer-Encoding: chunked\t"], "400"],
    [["Transfer-Encoding: \x0bchunked"], "400"],
    [["Transfer-Encoding:"], "400"],
    [["Transfer-Encoding:", " chunked"], "400"],
    [["Transfer-Encoding: gzip, chunked"], "501"],
  ])("of %j gives %s", (fields, expected) => {
    assert.equal(outcome(post(...fields)), expected);
  });

  it("is never chunked in HTTP/1.0", () => {
    assert.equal(outcome(request("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked")), "400");
  });

  it("is 0 without either field", () => {
    assert.equal(head(post())["end"], true);
    assert.equal(head(post())["contentLength"], -1);
  });
});

describe("connection fields", () => {
  it("are taken out, with those that Connection names", () => {
    const wire = get(
      "Connection: X-A, keep-alive",
      "X-A: 1",
      "x-a: 2",
      "Keep-Alive: timeout=5",
      "Proxy-Connection: close",
      "X-B: 3",
      "Upgrade: h2c",
    );
    assert.deepEqual(head(wire)["fields"], ["X-B", "3"]);
    assert.equal(head(wire)["keepAlive"], true);
    assert.equal(head(wire)["upgrade"], "");
  });

  it("do not include what somebody else relies on: naming it in Connection does not remove it", () => {
    const named = ["Authorization", "Cookie", "X-Forwarded-For", "X-Forwarded-Client-Cert", "weft-route", "Content-Type", "Traceparent"];
    const wire = get(
      `Connection: host, content-length, transfer-encoding, ${named.join(", ")}`,
      "Content-Length: 1",
      ...named.map((name) => `${name}: v`),
    );
    assert.deepEqual(
      head(`${wire}x`)["fields"],
      named.flatMap((name) => [name, "v"]),
    );
    assert.equal(head(`${wire}x`)["contentLength"], 1);
    assert.equal(head(`${wire}x`)["authority"], "a");
  });

  it.each([
    ["HTTP/1.1", [], true],
    ["HTTP/1.1", ["Connection: Close"], false],
    ["HTTP/1.1", ["Connection: keep-alive, close"], false],
    ["HTTP/1.1", ["Connection: x", "Connection: close"], false],
    ["HTTP/1.0", [], false],
    ["HTTP/1.0", ["Connection: Keep-Alive"], true],
    ["HTTP/1.0", ["Connection: keep-alive", "Connection: close"], false],
  ])("%s with %j: kept alive is %s", (version, fields, expected) => {
    assert.equal(head(request(`GET / ${version}`, "Host: a", ...fields))["keepAlive"], expected);
  });

  it("that close the connection end decoding: what follows is not a request", () => {
    assert.equal(playRequest(get("Connection: close") + get()).length, 1);
  });

  it("keep te only as trailers", () => {
    assert.deepEqual(head(get("TE: trailers"))["fields"], ["TE", "trailers"]);
    assert.deepEqual(head(get("TE: gzip;q=0.5, Trailers"))["fields"], ["TE", "trailers"]);
    assert.deepEqual(head(get("TE: gzip"))["fields"], []);
  });

  it("offer an upgrade only when Connection names it, in HTTP/1.1", () => {
    assert.equal(head(get("Connection: upgrade", "Upgrade: websocket"))["upgrade"], "websocket");
    assert.equal(head(get("Upgrade: websocket"))["upgrade"], "");
    assert.equal(head(request("GET / HTTP/1.0", "Connection: upgrade", "Upgrade: websocket"))["upgrade"], "");
  });
});

describe("Expect", () => {
  it.each([
    ["HTTP/1.1", "100-Continue", 1, true, ["Expect", "100-Continue"]],
    ["HTTP/1.1", "100-continue", 0, false, []],
    ["HTTP/1.0", "100-continue", 1, false, []],
    ["HTTP/1.0", "else", 1, false, []],
  ])("of %s, %s, with %d body bytes: waits is %s", (version, value, length, waits, fields) => {
    const wire = `${request(`POST / ${version}`, "Host: a", `Expect: ${value}`, `Content-Length: ${length}`)}${"x".repeat(length)}`;
    assert.deepEqual([head(wire)["expectContinue"], head(wire)["fields"]], [waits, fields]);
  });

  it("of anything else is answered 417", () => {
    for (const value of ["", "200-ok", "100-continue, x", "y 100-continue"]) assert.equal(outcome(post(`Expect: ${value}`)), "417");
    assert.equal(outcome(post("Expect: 100-continue", "Expect: 100-continue")), "400");
  });
});

describe("limits of a request's head", () => {
  const sized = (bytes: number): string => get(`X: ${"v".repeat(bytes - get("X: ").length)}`);

  it.each([1, 1000, 65_536])("let 64 KiB pass and not a byte more, in pieces of %d", (piece) => {
    const cut = (wire: string): Buffer[] => wire.match(new RegExp(`.{1,${piece}}`, "gs"))!.map(latin1);
    assert.equal(play(new RequestDecoder(), cut(sized(65_536)))[0]?.event, "HEAD");
    const seen = play(new RequestDecoder(), cut(sized(65_537)))[0]!;
    assert.deepEqual([seen["status"], seen["code"]], [431, "WEFT_HEAD_TOO_LARGE"]);
  });

  it("refuse an endless head at 64 KiB, not at its end", () => {
    const decoder = new RequestDecoder();
    decoder.push(latin1(`GET /${"a".repeat(65_530)}`));
    assert.equal(decoder.next(), EVENT.NEED);
    decoder.push(latin1("a"));
    assert.equal(decoder.next(), EVENT.ERROR);
    assert.equal(decoder.error?.status, 431);
  });

  it("let 200 fields pass and not one more, Host and framing fields counted", () => {
    const fields = (n: number): string[] => Array.from({ length: n }, (_, i) => `X-${i}: y`);
    assert.equal(outcome(get(...fields(199))), "HEAD");
    assert.equal(outcome(get(...fields(200))), "431");
  });

  it("say nothing of bodies: a head behind a large body is read", () => {
    const wire = `${post("Content-Length: 200000")}${"x".repeat(200_000)}${get()}`;
    assert.deepEqual(
      playRequest(wire).map((seen) => seen.event),
      ["HEAD", "DATA", "HEAD"],
    );
  });
});

describe("a request decoder", () => {
  it("reads nothing ahead: a pipelined request stays where it is until pulled", () => {
    const decoder = new RequestDecoder();
    const second = get("X: 2");
    decoder.push(latin1(get() + second));
    assert.equal(decoder.next(), EVENT.HEAD);
    assert.equal(decoder.buffered, second.length);
    assert.equal(decoder.remainder().toString("latin1"), second);
    assert.equal(decoder.buffered, 0);
    assert.equal(decoder.next(), EVENT.NEED);
  });

  it("hands out body bytes without copying them", () => {
    const decoder = new RequestDecoder();
    const body = latin1("0123456789");
    decoder.push(latin1(post("Content-Length: 10")));
    decoder.push(body);
    assert.equal(decoder.next(), EVENT.HEAD);
    assert.equal(decoder.next(), EVENT.DATA);
    assert.equal(decoder.data, body);
    assert.equal(decoder.end, true);
  });

  it("gives the remainder of a split head back whole", () => {
    const decoder = new RequestDecoder();
    for (const piece of ["GET / HT", "TP/1.1\r\nHo", "st"]) {
      decoder.push(latin1(piece));
      assert.equal(decoder.next(), EVENT.NEED);
    }
    assert.equal(decoder.buffered, 20);
    assert.equal(decoder.remainder().toString("latin1"), "GET / HTTP/1.1\r\nHost");
  });

  it("stays with its first error", () => {
    const decoder = new RequestDecoder();
    decoder.push(latin1("\n"));
    assert.equal(decoder.next(), EVENT.ERROR);
    decoder.push(latin1(get()));
    assert.equal(decoder.next(), EVENT.ERROR);
    assert.equal(decoder.keepAlive, false);
  });

  it.each([
    ["", undefined],
    ["\r\n", undefined],
    ["\r", true],
    ["GET / HTTP/1.1\r\n", true],
    [`${post("Content-Length: 2")}x`, true],
    [`${post("Transfer-Encoding: chunked")}1\r\nx\r\n0\r\n`, true],
  ])("at the end of the connection after %j: truncated is %s", (wire, truncated) => {
    assert.equal(playRequest(wire).at(-1)?.["truncated"], truncated);
  });
});
