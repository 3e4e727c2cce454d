import assert from "node:assert/strict";
import { playRequest } from "./testdata/play.ts";

const HEAD = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/** The body, or why there is none. */
function read(wire: string): string {
  const seen = playRequest(HEAD + wire);
  const error = seen.find(({ event }) => event === "ERROR");
  return error === undefined
    ? seen.map((one) => one["data"] ?? "").join("")
    : `refused: ${error["truncated"] === true ? "truncated" : error["status"]}`;
}

const REFUSED = "refused: 400";

describe("a chunk size", () => {
  it.each([
    ["5\r\nhello\r\n0\r\n\r\n", "hello"],
    ["00000005\r\nhello\r\n00000000\r\n\r\n", "hello"],
    ["A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"],
    ["000000005\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["100000000\r\nhello", REFUSED],
    ["\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["+5\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["-5\r\nhello\r\n0\r\n\r\n", REFUSED],
    [" 5\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["5 \r\nhello\r\n0\r\n\r\n", REFUSED],
    ["0x5\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["5g\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["5,5\r\nhello\r\n0\r\n\r\n", REFUSED],
    ["\xb5\r\nhello\r\n0\r\n\r\n", REFUSED],
    [";a\r\nhello\r\n0\r\n\r\n", REFUSED],
  ])("of %j gives %s", (wire, expected) => {
    assert.equal(read(wire), expected);
  });
});

describe("a chunk extension", () => {
  const extended = (extension: string): string => read(`5${extension}\r\nhello\r\n0${extension}\r\n\r\n`);

  it.each([";a", ";a=b", ';a="b c"', ';a=""', ';a="\\"\\\\;\t\xff"', ";a;b=c;d"])("%j is read and forgotten", (extension) => {
    assert.equal(extended(extension), "hello");
  });

  it.each([
    ";",
    ";;a",
    ";=b",
    ";a=",
    ";a =b",
    "; a",
    " ;a",
    ';a="b',
    ';a="b"c',
    ";a=b=c",
    ";a\n",
    ';a="\r\n"',
    ";a\r",
    ";\x00",
    ';a="\n"',
    ';a="\\\x7f"',
    ";a\r\r",
    ";a,",
  ])("%j is refused", (extension) => {
    assert.equal(extended(extension), REFUSED);
  });

  it("may be 256 bytes long and no more, all of a chunk counted", () => {
    assert.equal(extended(`;${"a".repeat(255)}`), "hello");
    assert.equal(extended(`;${"a".repeat(256)}`), REFUSED);
    assert.equal(extended(";a".repeat(128)), "hello");
    assert.equal(extended(`${";a".repeat(128)};`), REFUSED);
    assert.equal(read(`5;${"a".repeat(1_000_000)}`), REFUSED);
  });
});

describe("a line end", () => {
  const body = (ends: readonly string[]): string => `5${ends[0]}hello${ends[1]}0;x${ends[2]}T: v${ends[3]}${ends[4]}`;

  it("is CRLF after each part of a chunked body", () => {
    assert.equal(read(body(Array<string>(5).fill("\r\n"))), "hello");
  });

  it.each(["\n", "\r", "\r\r\n", "\n\r", "", "\r\n\n", "XX"])("is never %j, wherever it stands", (wrong) => {
    const accepted = [0, 1, 2, 3, 4].filter((place) => {
      const ends = Array<string>(5).fill("\r\n");
      ends[place] = wrong;
      return !read(body(ends)).startsWith("refused");
    });
    assert.deepEqual(accepted, []);
  });
});

describe("the end of a chunked body", () => {
  it("is where the next request begins", () => {
    const seen = playRequest(`${HEAD}1\r\nx\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n`);
    assert.equal(seen.at(-1)?.["target"], "/next");
  });

  it("is not the last chunk alone", () => {
    assert.equal(read("1\r\nx\r\n0\r\n"), "refused: truncated");
    assert.equal(read("1\r\nx\r\n0\r\n\r"), "refused: truncated");
    assert.equal(read("1\r\nx\r\n"), "refused: truncated");
  });
});
