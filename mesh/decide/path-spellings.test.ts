import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { PathMatchType, ServiceSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { compileService } from "./compile.ts";
import { normalizePath } from "./path.ts";

/*
 * For a rule on PathPrefix /admin: no spelling may reach an upstream that reads it as /admin without the
 * rule matching. What "reads" means is told by three models of servers, each with its variants, and each
 * more lenient than the real ones.
 */

const octets = (text: string) => text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
const withoutQuery = (target: string) => target.replace(/[?#].*$/s, "");

/** RFC 3986 §5.2.4 on segments; "merge" drops empty ones first. */
function removeDots(path: string): string {
  const out: string[] = [];
  for (const segment of path.split("/").slice(1)) {
    if (segment === "..") out.pop();
    else if (segment !== ".") out.push(segment);
  }
  return `/${out.join("/")}`;
}
const mergeSlashes = (path: string) => path.replace(/\/{2,}/g, "/");

function rfcReadings(target: string): string[] {
  const path = withoutQuery(target);
  // Segments first, then escapes; and the other way round, as servers that decode the whole path do.
  const unreserved = path.replace(/%(2d|2e|5f|7e|3[0-9]|[46][1-9a-f]|[57][0-9a])/gi, (triplet) => octets(triplet));
  return [octets(removeDots(unreserved)), removeDots(octets(path))];
}

function tomcatReadings(target: string): string[] {
  const path = octets(withoutQuery(target).replace(/;[^/]*/g, ""));
  return [path, path.replaceAll("\\", "/")].map((read) => removeDots(mergeSlashes(read)));
}

function iisReadings(target: string): string[] {
  const once = lenientUtf8(octets(unicodeEscapes(withoutQuery(target))));
  const twice = lenientUtf8(octets(unicodeEscapes(once)));
  return [once, twice].flatMap((read) => {
    const path = read.replaceAll("\\", "/").replace(/\0.*$/s, "");
    return [removeDots(mergeSlashes(path)), removeDots(path), removeDots(mergeSlashes(path.replace(/;[^/]*/g, "")))];
  });
}

/** %uXXXX, full-width forms to ASCII. */
function unicodeEscapes(text: string): string {
  return text.replace(/%u([0-9a-fA-F]{4})/g, (_, hex: string) => bestFit(Number.parseInt(hex, 16)));
}
const bestFit = (code: number) => String.fromCharCode(code >= 0xff01 && code <= 0xff5e ? code - 0xfee0 : code);

/** Takes overlong forms for what they stand for, as old decoders did. */
function lenientUtf8(text: string): string {
  return text
    .replace(/[\xf0-\xf7][\x80-\xbf]{3}/g, (s) => bestFit(bits(s, 0x07) & 0xffff))
    .replace(/[\xe0-\xef][\x80-\xbf]{2}/g, (s) => bestFit(bits(s, 0x0f)))
    .replace(/[\xc0-\xdf][\x80-\xbf]/g, (s) => bestFit(bits(s, 0x1f)));
}
const bits = (sequence: string, mask: number) =>
  [...sequence].reduce((code, char, i) => (i === 0 ? char.charCodeAt(0) & mask : code * 64 + (char.charCodeAt(0) & 0x3f)), 0);

const isAdmin = (path: string) => path === "/admin" || path.startsWith("/admin/");
const readAsAdmin = (target: string) => [...rfcReadings(target), ...tomcatReadings(target), ...iisReadings(target)].some(isAdmin);

const service = compileService(
  create(ServiceSchema, {
    clusters: [{ name: "shop/web:80" }],
    routes: [{ name: "admin", matches: [{ path: { type: PathMatchType.PREFIX, value: "/admin" } }] }],
  }),
);

/** What becomes of a target: refused, under the rule, or past it, and then what the upstream gets. */
function fate(target: string): { kind: "refused" | "matched" | "past"; forwarded: string } {
  const normal = normalizePath(target);
  if ("refused" in normal) return { kind: "refused", forwarded: "" };
  const route = service.match({ method: "GET", path: normal.path, query: normal.query, fields: [] });
  return { kind: route === null ? "past" : "matched", forwarded: normal.target };
}

const BEFORE = [
  ..."/ // /// /./ /././ /../ /a/../ /a/b/../../ /%2e/ /a/%2e%2e/ /a/%2E%2e/ /a/.%2e/ /a/%2e./ /.;/ /..;/ /..;x/ /a/..;/ /a/..;x=y/ /a/.;/../ /a;b/../".split(
    " ",
  ),
  ..."/;/ /;x=1/ /;x/../ /a/;x/../../ /a//../ /a//../../ /a/b//../../../ \\ /\\ /\\\\ /a/..\\ /a\\..\\ /%5c /a/..%5c /a%5c..%5c /%2f /a/..%2f /a%2f..%2f /%2e%2e%2f".split(
    " ",
  ),
  ..."/%252f /%252e/ /a/%252e%252e/ /a/%252e%252e%252f /a/..%252f /%255c /%c0%af /%c0%ae%c0%ae/ /a/%c0%ae%c0%ae/ /a/%e0%80%ae%e0%80%ae/ /%u002f /a/%u002e%u002e/".split(
    " ",
  ),
  ..."/%ef%bc%8f /a/%ef%bc%8e%ef%bc%8e/ /a/.%ef%bc%8e/ /%ef%bc%bc /..%20/ /a/..%20/ /%2e%2e;/ /a/%2e%2e%3b/ /%3b/ /a/%2e%2e;%2f /x%00/../ /x/..%00/ /%0a/ //a/../ //a//..//../".split(
    " ",
  ),
];
const NAMES = [
  ..."admin %61dmin a%64min adm%69n %61%64%6d%69%6E %2561dmin %25%36%31dmin %u0061dmin %c1%a1dmin %e0%81%a1dmin %f0%80%81%a1dmin".split(
    " ",
  ),
  ..."%EF%BD%81dmin %ef%bd%81%ef%bd%84%ef%bd%8d%ef%bd%89%ef%bd%8e \xef\xbd\x81dmin ad\xc1\xadin %uff41dmin".split(" "),
];
const AFTER = [
  "",
  ..."/ /x // //x /. /./ /x/.. /x/../ ; ;x ;x=1 ;x/y ;/ /;x /..;/ /..;x/y ? ?x=1 # #x ?# %00 %00.html %2f %2fx %5c \\ \\x %252f %ef%bc%8f %3f %23 %3b %20".split(
    " ",
  ),
];

const corpus = BEFORE.flatMap((before) => NAMES.flatMap((name) => AFTER.map((after) => before + name + after)));

describe("a rule on PathPrefix /admin", () => {
  it("sees far more than 200 spellings in this corpus that some server reads as /admin", () => {
    assert.ok(corpus.filter(readAsAdmin).length > 2000);
  });
  it("matches every one of them, or the request is refused", () => {
    assert.deepEqual(
      corpus.filter((target) => readAsAdmin(target) && fate(target).kind === "past"),
      [],
    );
  });
  it.each(["/admin%3bx", "/admin;x", "//admin", "/admin//", "/;/admin"])(
    "matches %s, which is forwarded as some servers cut or merge it",
    (target) => {
      assert.equal(fate(target).kind, "matched");
    },
  );
  it("lets nothing past in a form that the upstream reads as /admin", () => {
    assert.deepEqual(
      corpus.map(fate).filter(({ kind, forwarded }) => kind === "past" && readAsAdmin(forwarded)),
      [],
    );
  });
  it("holds both for 10^4 targets made of the same pieces at random", () => {
    const piece = fc.constantFrom(
      ..."/ // . .. ; ;x %2e %2f %5c %25 %00 %20 \\ ? # a admin %61 dmin min ad %c0%ae %ef%bc%8e %u002f %3b 2e 2f x".split(" "),
    );
    const target = fc
      .tuple(
        fc.array(piece, { maxLength: 8 }),
        fc.constantFrom("/admin", "/%61dmin", "/../admin", "//admin", "admin"),
        fc.array(piece, { maxLength: 5 }),
      )
      .map(([before, name, after]) => `/${before.join("")}${name}${after.join("")}`);
    fc.assert(
      fc.property(target, (given) => {
        const { kind, forwarded } = fate(given);
        assert.ok(kind !== "past" || !readAsAdmin(given), given);
        assert.ok(kind !== "past" || !readAsAdmin(forwarded), forwarded);
      }),
      { numRuns: 10_000, seed: 200 },
    );
  });
  it.each([
    "/",
    "/admins",
    "/admi",
    "/ADMIN",
    "/Admin",
    "/a/admin",
    "/x/../a/admin",
    "/admin/..",
    "/administrator/admin",
    "/a?/admin",
    "/%E2%84%80dmin",
  ])("does not match %s", (target) => {
    assert.equal(fate(target).kind, "past");
  });
});
