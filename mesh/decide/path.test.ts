import assert from "node:assert/strict";
import fc from "fast-check";
import { normalizePath } from "./path.ts";
import { matchKey } from "./path-key.ts";

/** Octets of a text as one char each, as the codec hands targets over. */
const raw = (text: string) => Buffer.from(text, "utf8").toString("latin1");

function pathOf(target: string): string {
  const normal = normalizePath(target);
  return "refused" in normal ? `refused: ${normal.refused}` : normal.path;
}

describe("a path that needs nothing", () => {
  it.each([
    "/",
    "/a",
    "/a/b/",
    "/a//b",
    "/.well-known/acme",
    "/...",
    "/a.b/..c",
    "/v1;x=1/y",
    "/a%20b",
    "/caf%C3%A9",
    "/a+b,c=d@e:f!$&'()*~_-",
    "/%7Buser%7D",
  ])("is returned as the same string: %s", (target) => {
    assert.deepEqual(normalizePath(target), { path: target, query: "", target });
  });
  it("is cut at the first question mark, and the query kept as it is", () => {
    assert.deepEqual(normalizePath("/a?b=%zz&c=/../;?d"), { path: "/a", query: "b=%zz&c=/../;?d", target: "/a?b=%zz&c=/../;?d" });
  });
  it("keeps an empty query in what is forwarded", () => {
    assert.deepEqual(normalizePath("/a?"), { path: "/a", query: "", target: "/a?" });
  });
  it("may be the asterisk of OPTIONS", () => {
    assert.deepEqual(normalizePath("*"), { path: "*", query: "", target: "*" });
  });
});

describe("a path in another spelling", () => {
  it.each([
    ["/%61dmin", "/admin", "unreserved characters are decoded"],
    ["/%7Euser/%2Dx%5F", "/~user/-x_", "all of them"],
    ["/a%2cb%3a", "/a%2Cb%3A", "other escapes get upper-case digits"],
    ["//a", "/a", "leading slashes are merged"],
    ["////", "/", "also when nothing else is there"],
    ["/./a/./b/.", "/a/b/", "single dots go"],
    ["/a/b/../c", "/a/c", "double dots take one segment with them"],
    ["/a/b/..", "/a/", "and leave a slash at the end"],
    ["/../../a", "/a", "nothing is above the root"],
    ["/..", "/", "nothing at all"],
    ["/a/%2e%2E/b", "/b", "escaped dots are dots"],
    ["/a/.%2e/b", "/b", "mixed ones too"],
    ["/a/..//b", "/b", "no slash is left leading by it"],
    ["/a;x/../b", "/b", "a segment with parameters is a segment"],
    [raw("/café"), "/caf%C3%A9", "plain UTF-8 becomes escapes"],
  ])("%s means %s: %s", (target, path) => {
    assert.equal(pathOf(target), path);
  });
  it("is forwarded in the normal spelling with its query untouched", () => {
    assert.deepEqual(normalizePath("/x/../%61?b=%61"), { path: "/a", query: "b=%61", target: "/a?b=%61" });
  });
});

describe("a path that servers read differently", () => {
  it.each([
    ["/a%2fb", "escaped slash"],
    ["/a%2Fb", "escaped slash"],
    ["/a%5cb", "backslash"],
    ["/a\\b", "backslash"],
    ["/a%00", "escaped control"],
    ["/a%0a", "escaped control"],
    ["/a%7f", "escaped control"],
    ["/..;/a", "dot segment"],
    ["/..;x=1/a", "dot segment"],
    ["/.;/a", "dot segment"],
    ["/%2e%2e;/a", "dot segment"],
    ["/..%3b/a", "dot segment"],
    ["/..%20/a", "dot segment"],
    ["/x//../a", "follows an empty one"],
    ["/x/%3by/../a", "follows an empty one"],
    ["/x/;y/../a", "follows an empty one"],
    ["/%", "invalid escape"],
    ["/%4", "invalid escape"],
    ["/%zz", "invalid escape"],
    ["/%u0061", "invalid escape"],
    ["/%c0%af", "not UTF-8"],
    ["/%e0%80%af", "not UTF-8"],
    ["/%f0%80%80%af", "not UTF-8"],
    ["/%ed%a0%80", "not UTF-8"],
    ["/%f4%90%80%80", "not UTF-8"],
    ["/%c3", "not UTF-8"],
    ["/%c3/%a9", "not UTF-8"],
    ["/%ff", "not UTF-8"],
    ["/%80", "not UTF-8"],
    ["/\xe9", "not UTF-8"],
    ["/%252e%252e/a", "escaped escape"],
    ["/%2561dmin", "escaped escape"],
    ["/%25%32%65", "escaped escape"],
    ["/%25252e", "escaped escape"],
    ["/%25c0%25af", "escaped escape"],
    ["/%ef%bc%8fa", "full-width"],
    ["/a/%ef%bc%8e%ef%bc%8e/b", "full-width"],
    ["/a#b", "fragment"],
    ["/a?b#c", "fragment"],
    ["/a b", "control character or a blank"],
    ["/a\tb", "control character or a blank"],
    ["/a?b c", "control character or a blank"],
    ["/a?b\r\nx: y", "control character or a blank"],
    ["/a\x7f", "control character or a blank"],
    ["/\u0100", "not a string of octets"],
    ["", "neither a path"],
    ["a", "neither a path"],
    ["http://x/", "neither a path"],
    ["**", "neither a path"],
  ])("is refused: %j (%s)", (target, why) => {
    assert.match(pathOf(target), new RegExp(`^refused: .*${why}`));
  });
  it("passes when an escaped escape could only become a blank or a letter beyond ASCII", () => {
    assert.equal(pathOf("/a%2520b/100%25/%25C3%25A9"), "/a%2520b/100%25/%25C3%25A9");
  });
});

describe("any target at all", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ..."/.;%?#\\ 0aA2eEfF5cC~".split(""),
      "..",
      "//",
      "/../",
      "%2e",
      "%2F",
      "%25",
      "%5c",
      "%c3%a9",
      "%EF%BC%8E",
      "%61",
      "\xc3\xa9",
      "\xff",
      "\0",
    ),
    fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  );
  const target = fc.array(piece, { maxLength: 16 }).map((pieces) => `/${pieces.join("")}`);

  it("normalises to what normalises to itself, and is never more than its octets escaped", () => {
    fc.assert(
      fc.property(target, (given) => {
        const once = normalizePath(given);
        const again = "refused" in once ? once : normalizePath(once.target);
        assert.deepEqual(again, once);
        const { path, query, target: forwarded } = "refused" in once ? { path: "/", query: "", target: "/" } : once;
        assert.match(path, /^\/(?:$|[^/])/);
        assert.match(forwarded, /^[!-~\x80-\xff]*$/);
        assert.doesNotMatch(path, /[\x80-\xff?#\\]|\/\.\.?(?:\/|$)|%[0-9A-F]?[a-f]|%(?:2F|5C|00)/);
        assert.ok([path, `${path}?${query}`].includes(forwarded));
        assert.ok(path.length <= 3 * given.length);
      }),
      { numRuns: 10_000, seed: 3986 },
    );
  });
});

describe("the key that paths are compared by", () => {
  it.each([
    ["/a/b", "/a/b"],
    ["/a//b///c", "/a/b/c"],
    ["/a;x/b;y=1;z", "/a/b"],
    ["/;x/a", "/a"],
    ["/a%40b%2C", "/a@b,"],
    ["/a%3Bx/b", "/a/b"],
    ["/a%2520b", "/a%20b"],
    ["/%EF%BD%81%EF%BC%A1%EF%BC%81", "/aA!"],
    ["/caf%C3%A9", "/caf\xc3\xa9"],
    ["/%EF%BB%BF", "/\xef\xbb\xbf"],
    ["*", "*"],
  ])("of %s is %j", (path, key) => {
    assert.equal(matchKey(path), key);
  });
  it("keeps parameters when a match names them", () => {
    assert.equal(matchKey("/a;v=1//b%3Bc", "keep"), "/a;v=1/b;c");
  });
});
