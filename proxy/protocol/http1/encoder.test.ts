import assert from "node:assert/strict";
import fc from "fast-check";
import type { Fields, RequestHead, ResponseHead } from "../stream.ts";
import { EVENT, RequestDecoder, ResponseDecoder } from "./decoder.ts";
import {
  CHUNKED_END,
  encodeChunk,
  encodeInterimHead,
  encodeRequest,
  encodeRequestHead,
  encodeResponse,
  encodeResponseHead,
  encodeTrailers,
} from "./encoder.ts";
import { type Framing, requestFraming, responseFraming } from "./framing.ts";
import { specialField, SPECIAL } from "./fields.ts";
import { nodeSees } from "./testdata/node-parser.ts";
import { isForbiddenTrailer } from "./trailers.ts";

const REQUEST: RequestHead = { method: "GET", target: "/p?q", authority: "a:80", version: 11, fields: [], contentLength: -1 };
const RESPONSE: ResponseHead = { status: 200, reason: "OK", version: 11, fields: [], contentLength: -1 };
const NONE: Framing = { kind: "none", length: -1 };
const KEEP = { keepAlive: true, downstreamVersion: 11 } as const;

const requestText = (changes: Partial<RequestHead>, framing = NONE, extra = ""): string | undefined =>
  encodeRequestHead({ ...REQUEST, ...changes }, framing, extra)?.toString("latin1");
const responseText = (
  changes: Partial<ResponseHead>,
  framing = NONE,
  options: Parameters<typeof encodeResponseHead>[2] = KEEP,
): string | undefined => encodeResponseHead({ ...RESPONSE, ...changes }, framing, options)?.toString("latin1");

const chars = (ranges: readonly (readonly [number, number])[]): fc.Arbitrary<string> =>
  fc.oneof(...ranges.map(([from, to]) => fc.integer({ min: from, max: to }))).map((code) => String.fromCharCode(code));
const token = fc.string({ unit: fc.constantFrom(..."abcxyzABCXYZ0129!#$%&'*+-.^_`|~"), minLength: 1, maxLength: 20 });
const name = token.filter((text) => specialField(text) === SPECIAL.NONE && !isForbiddenTrailer(text));
const value = fc
  .string({
    unit: chars([
      [0x20, 0x7e],
      [0x80, 0xff],
      [9, 9],
    ]),
    maxLength: 40,
  })
  .map((text) => text.replace(/^[ \t]+|[ \t]+$/g, ""));
const fields: fc.Arbitrary<Fields> = fc.array(fc.tuple(name, value), { maxLength: 12 }).map((pairs) => pairs.flat());
const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const target = fc
  .string({
    unit: chars([
      [0x21, 0x22],
      [0x24, 0x7e],
    ]),
    maxLength: 40,
  })
  .map((text) => `/${text}`);

/** All of the first message: its head's event aside, the body and the trailers. */
function rest(decoder: RequestDecoder | ResponseDecoder): { body: Buffer; trailers: Fields; complete: boolean } {
  const pieces: Buffer[] = [];
  let trailers: Fields = [];
  let complete = decoder.end;
  while (!complete) {
    const event = decoder.next();
    if (event === EVENT.NEED || event === EVENT.ERROR) break;
    if (event === EVENT.DATA) pieces.push(decoder.data);
    if (event === EVENT.TRAILERS) trailers = decoder.trailers;
    complete = event !== EVENT.DATA || decoder.end;
  }
  return { body: Buffer.concat(pieces), trailers, complete };
}

describe("what the encoder writes", () => {
  it("is read back as it was: requests", () => {
    fc.assert(
      fc.property(
        token.filter((text) => text !== "CONNECT"),
        target,
        fields,
        body,
        fc.boolean(),
        fields,
        (method, path, list, content, declared, trailers) => {
          const end = content.length === 0 && trailers.length === 0;
          const head: RequestHead = {
            ...REQUEST,
            method,
            target: path,
            fields: list,
            contentLength: declared && trailers.length === 0 ? content.length : -1,
          };
          const framing = requestFraming(head, end);
          const first = encodeRequest(head, framing, content, trailers.length === 0)!;
          const wire = trailers.length === 0 ? first : Buffer.concat([first, encodeTrailers(trailers)!]);
          const decoder = new RequestDecoder();
          decoder.push(wire);
          assert.equal(decoder.next(), EVENT.HEAD);
          assert.deepEqual(decoder.head, { ...head, contentLength: end ? Math.max(framing.length, -1) : head.contentLength });
          assert.deepEqual(rest(decoder), { body: content, trailers, complete: true });
          assert.equal(decoder.buffered, 0);
        },
      ),
    );
  });

  it("is read back as it was: responses", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 999 }),
        value,
        fields,
        body,
        fc.boolean(),
        fc.constantFrom("GET", "HEAD"),
        (status, reason, list, content, declared, method) => {
          const bodiless = method === "HEAD" || status === 204 || status === 304;
          const sent = bodiless ? Buffer.alloc(0) : content;
          const head: ResponseHead = { ...RESPONSE, status, reason, fields: list, contentLength: declared ? content.length : -1 };
          const framing = responseFraming(head, sent.length === 0, method, 11);
          const decoder = new ResponseDecoder();
          decoder.expect(method);
          decoder.push(encodeResponse(head, framing, sent, true, KEEP)!);
          assert.equal(decoder.next(), EVENT.HEAD);
          assert.deepEqual(decoder.head, { ...head, contentLength: framing.length });
          assert.deepEqual(rest(decoder), { body: sent, trailers: [], complete: true });
          assert.deepEqual([decoder.buffered, decoder.keepAlive], [0, true]);
        },
      ),
    );
  });

  it("never holds a line that nobody put in: of any strings at all, either nothing is written or Node reads one message", () => {
    const any = fc.string({
      unit: fc.oneof(chars([[0, 0x7f]]), chars([[0x80, 0x24f]]), fc.constantFrom("\r\n", "\u010a", "\u010d", "/", ":", " ")),
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.constantFrom("GET", "POST", "PUT"), any, any, fc.array(any, { maxLength: 4 }), (method, path, authority, list) => {
        const pairs = list.length % 2 === 0 ? list : list.slice(1);
        const wire = encodeRequestHead({ ...REQUEST, method, target: `/${path}`, authority: `a${authority}`, fields: pairs }, NONE);
        const lines = wire?.toString("latin1").split(/[\r\n\0]/).length ?? 0;
        assert.equal(lines, wire === null ? 0 : 2 * (3 + pairs.length / 2) + 1);
        assert.equal(wire === null ? "" : nodeSees("request", wire).refused, "");
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a request's head", () => {
  it("has Host first, then the fields as they are, then its framing", () => {
    assert.equal(requestText({ fields: ["X-A", "b"] }), "GET /p?q HTTP/1.1\r\nhost: a:80\r\nX-A: b\r\n\r\n");
    assert.equal(requestText({}, { kind: "length", length: 5 }), "GET /p?q HTTP/1.1\r\nhost: a:80\r\ncontent-length: 5\r\n\r\n");
    assert.equal(requestText({}, { kind: "chunked", length: -1 }), "GET /p?q HTTP/1.1\r\nhost: a:80\r\ntransfer-encoding: chunked\r\n\r\n");
    assert.equal(requestText({ authority: "" }), "GET /p?q HTTP/1.1\r\nhost: \r\n\r\n");
  });

  it("names te in Connection", () => {
    assert.equal(requestText({ fields: ["TE", "trailers"] }), "GET /p?q HTTP/1.1\r\nhost: a:80\r\nTE: trailers\r\nconnection: te\r\n\r\n");
  });

  it("takes further lines of our own", () => {
    assert.equal(
      requestText({}, NONE, "connection: upgrade\r\nupgrade: x\r\n")?.includes("\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
      true,
    );
  });

  it.each([
    [{ method: "GET / HTTP/1.1\r\nX: y" }],
    [{ method: "" }],
    [{ method: "CONNECT" }],
    [{ target: "" }],
    [{ target: "x" }],
    [{ target: "*" }],
    [{ target: "http://a/" }],
    [{ target: "/ x" }],
    [{ target: "/#x" }],
    [{ target: "/\r\nX: y" }],
    [{ target: "/\u010a" }],
    [{ target: "/\xe9" }],
    [{ authority: "a\r\nX: y" }],
    [{ authority: "u@a" }],
    [{ authority: "a/b" }],
    [{ authority: "a b" }],
    [{ fields: ["", "x"] }],
    [{ fields: ["a b", "x"] }],
    [{ fields: ["a:", "x"] }],
    [{ fields: [":path", "/"] }],
    [{ fields: ["x\xe9", "x"] }],
    [{ fields: ["x", "a\r\nX: y"] }],
    [{ fields: ["x", "a\nb"] }],
    [{ fields: ["x", "a\0b"] }],
    [{ fields: ["x", "a\u010db"] }],
    [{ fields: ["x", "a\u{1f600}"] }],
    [{ fields: ["Host", "b"] }],
    [{ fields: ["Content-Length", "5"] }],
    [{ fields: ["content_length", "5"] }],
    [{ fields: ["transfer-encoding", "chunked"] }],
    [{ fields: ["connection", "close"] }],
    [{ fields: ["keep-alive", "x"] }],
    [{ fields: ["proxy-connection", "x"] }],
    [{ fields: ["upgrade", "h2c"] }],
    [{ fields: ["te", "gzip"] }],
  ])("of %j is not written at all", (changes) => {
    assert.equal(requestText(changes), undefined);
  });

  it.each([
    "x",
    "x: y",
    "x: y\n",
    "\r\n",
    "x: y\r\n\r\nGET",
    "content-length: 5\r\n",
    "transfer-encoding: chunked\r\n",
    "host: b\r\n",
    "x: \u010a\r\n",
  ])("with the further lines %j is not written at all", (extra) => {
    assert.equal(requestText({}, NONE, extra), undefined);
  });
});

describe("a response's head", () => {
  it("says what the client must know of the connection", () => {
    const line = "HTTP/1.1 200 OK\r\n";
    assert.equal(responseText({}), `${line}\r\n`);
    assert.equal(responseText({}, NONE, { keepAlive: false, downstreamVersion: 11 }), `${line}connection: close\r\n\r\n`);
    assert.equal(responseText({}, NONE, { keepAlive: true, downstreamVersion: 10 }), `${line}connection: keep-alive\r\n\r\n`);
    assert.equal(
      responseText({}, { kind: "close", length: -1 }, { keepAlive: true, downstreamVersion: 10 }),
      `${line}connection: close\r\n\r\n`,
    );
  });

  it("has no framing fields in 1xx and 204, whatever the caller says", () => {
    assert.equal(responseText({ status: 204, reason: "" }, { kind: "length", length: 5 }), "HTTP/1.1 204 \r\n\r\n");
    const extra = "connection: upgrade\r\nupgrade: x\r\n";
    assert.equal(
      responseText({ status: 101, reason: "" }, { kind: "chunked", length: -1 }, { ...KEEP, extra }),
      `HTTP/1.1 101 \r\n${extra}\r\n`,
    );
  });

  it.each([
    [{ status: 99 }],
    [{ status: 1000 }],
    [{ status: 200.5 }],
    [{ status: Number.NaN }],
    [{ reason: "a\r\nX: y" }],
    [{ reason: "\u010a" }],
    [{ fields: ["X", "\r"] }],
    [{ fields: ["Content-Length", "5"] }],
  ])("of %j is not written at all", (changes) => {
    assert.equal(responseText(changes), undefined);
  });
});

describe("an interim response", () => {
  const text = (changes: Partial<ResponseHead>): string => encodeInterimHead({ ...RESPONSE, ...changes }).toString("latin1");

  it("is a head without framing", () => {
    assert.equal(text({ status: 100 }), "HTTP/1.1 100 Continue\r\n\r\n");
    assert.equal(text({ status: 103, reason: "", fields: ["Link", "x"] }), "HTTP/1.1 103 \r\nLink: x\r\n\r\n");
  });

  it("that cannot be written is left out", () => {
    assert.deepEqual([text({ status: 101 }), text({ status: 200 }), text({ status: 103, fields: ["a", "\n"] })], ["", "", ""]);
  });
});

describe("chunks", () => {
  it("are size, data, CRLF in one buffer", () => {
    assert.equal(encodeChunk(Buffer.alloc(26, "x")).toString(), `1a\r\n${"x".repeat(26)}\r\n`);
  });

  it("of nothing are nothing, for a chunk of size 0 ends the body", () => {
    assert.equal(encodeChunk(Buffer.alloc(0)).length, 0);
  });

  it("end with the trailers that may stand there", () => {
    assert.equal(encodeTrailers(["grpc-status", "0", "Content-Length", "5"])?.toString(), "0\r\ngrpc-status: 0\r\n\r\n");
    assert.equal(encodeTrailers(["host", "a"]), CHUNKED_END);
    assert.equal(encodeTrailers(["x", "a\r\n\r\nGET"]), null);
  });
});

describe("a head with its body", () => {
  const chunked: Framing = { kind: "chunked", length: -1 };
  const text = (framing: Framing, content: string | null, end: boolean): string | undefined =>
    encodeResponse(RESPONSE, framing, content === null ? null : Buffer.from(content), end, KEEP)?.toString();

  it("is one buffer", () => {
    assert.equal(text({ kind: "length", length: 2 }, "ab", true), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab");
    assert.equal(text(chunked, "ab", false), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
    assert.equal(text(chunked, "ab", true), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    assert.equal(text(chunked, "", true), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert.equal(text(chunked, null, true), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  });

  it("leaves out a body that the framing does not have", () => {
    assert.equal(text({ kind: "none", length: 5 }, "hello", true), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
  });
});
