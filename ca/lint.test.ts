import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { type Certificate, parseCertificate } from "./certificate.ts";
import { type Expected, LINT_RULES, lint } from "./lint.ts";
import { BACKDATE_MS, OPERATOR_SERVER, WORKLOAD } from "./profiles.ts";

// A certificate built octet by octet, so that every rule can be broken alone, also where no library would.
const NOW_MS = Date.UTC(2026, 5, 1, 12);
const ID = "spiffe://cluster.local/ns/shop/sa/web";

const tlv = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const value = Buffer.concat(parts);
  const n = value.length;
  return Buffer.concat([Buffer.from(n < 128 ? [tag, n] : n < 256 ? [tag, 0x81, n] : [tag, 0x82, n >> 8, n & 255]), value]);
};
const seq = (...parts: Uint8Array[]): Buffer => tlv(0x30, ...parts);
const hex = (text: string): Buffer => Buffer.from(text, "hex");
const ascii = (text: string): Buffer => Buffer.from(text, "latin1");
const time = (ms: number): Buffer => {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+Z/g, "");
  return tlv(0x17, ascii(`${digits.slice(2)}Z`));
};
const TRUE = tlv(0x01, Buffer.of(0xff));
const ext = (lastArc: number, critical: boolean, value: Uint8Array): Buffer =>
  seq(tlv(0x06, Buffer.of(0x55, 0x1d, lastArc)), ...(critical ? [TRUE] : []), tlv(0x04, value));
const name = (cn: string): Buffer => seq(tlv(0x31, seq(tlv(0x06, hex("550403")), tlv(0x0c, ascii(cn)))));
const EMPTY_NAME = seq();
const ECDSA_SHA256 = seq(tlv(0x06, hex("2a8648ce3d040302")));
const ECDSA_SHA384 = seq(tlv(0x06, hex("2a8648ce3d040303")));
const EKU_SERVER = tlv(0x06, hex("2b06010505070301"));
const EKU_CLIENT = tlv(0x06, hex("2b06010505070302"));
const uri = (text: string): Buffer => tlv(0x86, ascii(text));
const dns = (text: string): Buffer => tlv(0x82, ascii(text));

const spkiOf = (curve: string): Buffer =>
  generateKeyPairSync("ec", { namedCurve: curve }).publicKey.export({ format: "der", type: "spki" });
const LEAF_KEY = spkiOf("P-256");
const ISSUER_KEY = spkiOf("P-256");
const keyId = (spki: Buffer): Buffer => createHash("sha1").update(spki.subarray(-65)).digest();

interface Parts {
  version: Buffer;
  serial: Buffer;
  innerAlgorithm: Buffer;
  outerAlgorithm: Buffer;
  issuer: Buffer;
  notBeforeMs: number;
  notAfterMs: number;
  subject: Buffer;
  spki: Buffer;
  extensions: Record<string, Buffer | null>;
}

const good = (): Parts => ({
  version: tlv(0xa0, tlv(0x02, Buffer.of(2))),
  serial: hex("4102030405060708090a0b0c0d0e0f10"),
  innerAlgorithm: ECDSA_SHA256,
  outerAlgorithm: ECDSA_SHA256,
  issuer: name("issuer"),
  notBeforeMs: NOW_MS - BACKDATE_MS,
  notAfterMs: NOW_MS + 3_600_000,
  subject: EMPTY_NAME,
  spki: LEAF_KEY,
  extensions: {
    basicConstraints: ext(19, true, seq()),
    keyUsage: ext(15, true, tlv(0x03, hex("0780"))),
    extendedKeyUsage: ext(37, false, seq(EKU_SERVER, EKU_CLIENT)),
    subjectAltName: ext(17, true, seq(uri(ID))),
    subjectKeyId: ext(14, false, tlv(0x04, keyId(LEAF_KEY))),
    authorityKeyId: ext(35, false, seq(tlv(0x80, keyId(ISSUER_KEY)))),
  },
});

const encode = (p: Parts): Buffer => {
  const extensions = Object.values(p.extensions).filter((e) => e !== null);
  const tbs = seq(
    p.version,
    tlv(0x02, p.serial),
    p.innerAlgorithm,
    p.issuer,
    seq(time(p.notBeforeMs), time(p.notAfterMs)),
    p.subject,
    p.spki,
    tlv(0xa3, seq(...extensions)),
  );
  return seq(tbs, p.outerAlgorithm, tlv(0x03, hex("00")));
};

const issuer: Certificate = parseCertificate(
  encode({
    ...good(),
    subject: name("issuer"),
    spki: ISSUER_KEY,
    notBeforeMs: NOW_MS - 86_400_000,
    notAfterMs: NOW_MS + 86_400_000,
    extensions: { subjectKeyId: ext(14, false, tlv(0x04, keyId(ISSUER_KEY))) },
  }),
);

const expected: Expected = { profile: WORKLOAD, uri: ID, dnsNames: [], nowMs: NOW_MS, chain: [issuer] };
const without = (extension: string): Partial<Parts> => ({ extensions: { ...good().extensions, [extension]: null } });
const withExtension = (extension: string, value: Buffer): Partial<Parts> => ({ extensions: { ...good().extensions, [extension]: value } });
const names = (...list: Buffer[]): Partial<Parts> => withExtension("subjectAltName", ext(17, true, seq(...list)));

/** Which rule must say no, to which change. */
const CASES: readonly {
  readonly name: string;
  readonly rule: string;
  readonly change: Partial<Parts>;
  readonly expect?: Partial<Expected>;
}[] = [
  { name: "version 1", rule: "is version 3", change: { version: Buffer.alloc(0) } },
  { name: "a negative serial", rule: "has a positive random serial", change: { serial: hex("8102030405060708090a0b0c0d0e0f10") } },
  { name: "a padded serial", rule: "has a positive random serial", change: { serial: hex("0002030405060708090a0b0c0d0e0f10") } },
  { name: "a short serial", rule: "has a positive random serial", change: { serial: hex("41020304") } },
  { name: "a serial of 21 octets", rule: "has a positive random serial", change: { serial: Buffer.alloc(21, 0x41) } },
  {
    name: "SHA-384 inside and outside",
    rule: "is signed by ECDSA with SHA-256",
    change: { innerAlgorithm: ECDSA_SHA384, outerAlgorithm: ECDSA_SHA384 },
  },
  { name: "another algorithm outside than inside", rule: "is signed by ECDSA with SHA-256", change: { outerAlgorithm: ECDSA_SHA384 } },
  { name: "a P-384 key", rule: "has a P-256 key", change: { spki: spkiOf("P-384") } },
  { name: "a start in the future", rule: "is valid now", change: { notBeforeMs: NOW_MS + 60_000 } },
  { name: "a start an hour back", rule: "is valid now", change: { notBeforeMs: NOW_MS - 3_600_000 } },
  { name: "an end in the past", rule: "ends after now", change: { notAfterMs: NOW_MS - 1000 } },
  { name: "an end eight days off", rule: "ends after now", change: { notAfterMs: NOW_MS + 8 * 86_400_000 } },
  { name: "an end after its issuer's", rule: "lives inside", change: { notAfterMs: NOW_MS + 2 * 86_400_000 } },
  { name: "another issuer's name", rule: "names its issuer", change: { issuer: name("other") } },
  { name: "a subject on a leaf", rule: "has a subject exactly when", change: { subject: name("web") } },
  { name: "two URIs", rule: "has exactly one URI", change: names(uri(ID), uri(`${ID}2`)) },
  { name: "no URI", rule: "has exactly one URI", change: without("subjectAltName") },
  { name: "somebody else's URI", rule: "names the identity", change: names(uri("spiffe://cluster.local/ns/shop/sa/db")) },
  {
    name: "the trust domain itself as a leaf's id",
    rule: "has a valid SPIFFE id",
    change: names(uri("spiffe://cluster.local")),
    expect: { uri: "spiffe://cluster.local" },
  },
  {
    name: "an id with dot segments",
    rule: "has a valid SPIFFE id",
    change: names(uri("spiffe://cluster.local/ns/../sa/x")),
    expect: { uri: "spiffe://cluster.local/ns/../sa/x" },
  },
  { name: "an id with a NUL", rule: "has a valid SPIFFE id", change: names(uri(`${ID}\0`)), expect: { uri: `${ID}\0` } },
  {
    name: "an https URI",
    rule: "has a valid SPIFFE id",
    change: names(uri("https://cluster.local/x")),
    expect: { uri: "https://cluster.local/x" },
  },
  {
    name: "names that are not critical beside an empty subject",
    rule: "marks its names as critical",
    change: withExtension("subjectAltName", ext(17, false, seq(uri(ID)))),
  },
  {
    name: "a DNS name on a workload",
    rule: "has no names besides",
    change: names(uri(ID), dns("web.shop.svc")),
    expect: { dnsNames: ["web.shop.svc"] },
  },
  { name: "an IP address", rule: "has no names besides", change: names(uri(ID), tlv(0x87, hex("7f000001"))) },
  {
    name: "another DNS name than asked for",
    rule: "has no names besides",
    change: names(uri(ID), dns("b")),
    expect: { profile: OPERATOR_SERVER, dnsNames: ["a"] },
  },
  { name: "cA=true", rule: "says critically whether", change: withExtension("basicConstraints", ext(19, true, seq(TRUE))) },
  { name: "no basicConstraints", rule: "says critically whether", change: without("basicConstraints") },
  {
    name: "a path length on a leaf",
    rule: "says critically whether",
    change: withExtension("basicConstraints", ext(19, true, seq(tlv(0x02, Buffer.of(0))))),
  },
  { name: "no key usage", rule: "has a critical key usage", change: without("keyUsage") },
  {
    name: "key usage that is not critical",
    rule: "has a critical key usage",
    change: withExtension("keyUsage", ext(15, false, tlv(0x03, hex("0780")))),
  },
  {
    name: "keyCertSign on a leaf",
    rule: "has a critical key usage",
    change: withExtension("keyUsage", ext(15, true, tlv(0x03, hex("0284")))),
  },
  { name: "cRLSign on a leaf", rule: "has a critical key usage", change: withExtension("keyUsage", ext(15, true, tlv(0x03, hex("0182")))) },
  {
    name: "keyEncipherment on a leaf",
    rule: "has a critical key usage",
    change: withExtension("keyUsage", ext(15, true, tlv(0x03, hex("05a0")))),
  },
  {
    name: "serverAuth alone",
    rule: "has exactly the extended key usages",
    change: withExtension("extendedKeyUsage", ext(37, false, seq(EKU_SERVER))),
  },
  { name: "no extended key usage", rule: "has exactly the extended key usages", change: without("extendedKeyUsage") },
  { name: "no subject key identifier", rule: "has a subject key identifier", change: without("subjectKeyId") },
  { name: "no authority key identifier", rule: "has the authority key identifier", change: without("authorityKeyId") },
  {
    name: "another authority's key identifier",
    rule: "has the authority key identifier",
    change: withExtension("authorityKeyId", ext(35, false, seq(tlv(0x80, keyId(LEAF_KEY))))),
  },
  {
    name: "the same extension twice",
    rule: "has each extension once",
    change: withExtension("again", ext(15, true, tlv(0x03, hex("0780")))),
  },
  {
    name: "an extension of no profile (name constraints)",
    rule: "has each extension once",
    change: withExtension("nameConstraints", ext(30, true, seq())),
  },
];

describe("lint", () => {
  it("finds nothing wrong with a good leaf", () => {
    assert.deepEqual(lint(encode(good()), expected), []);
  });

  it("finds nothing wrong with the operator's leaf and its DNS name", () => {
    const wanted: Expected = { ...expected, profile: OPERATOR_SERVER, dnsNames: ["weft-operator.weft-system.svc"] };
    assert.deepEqual(lint(encode({ ...good(), ...names(uri(ID), dns("weft-operator.weft-system.svc")) }), wanted), []);
  });

  it.each(CASES)("refuses $name", ({ rule, change, expect: expectation }) => {
    const broken = lint(encode({ ...good(), ...change }), { ...expected, ...expectation });
    assert.ok(
      broken.some((b) => b.startsWith(rule)),
      `${rule} is not among: ${broken.join("; ") || "nothing"}`,
    );
  });

  it("has a case for every rule", () => {
    const untested = LINT_RULES.filter((rule) => !CASES.some((c) => rule.name.startsWith(c.rule))).map((rule) => rule.name);
    assert.deepEqual(untested, []);
  });

  it("refuses bytes that are no certificate, at every length they may be cut to", () => {
    const der = encode(good());
    const accepted = der.map((_, n) => (lint(der.subarray(0, n), expected).length === 0 ? 1 : 0)).reduce((a, b) => a + b, 0);
    assert.equal(accepted, 0);
    assert.equal(lint(Buffer.concat([der, Buffer.of(0)]), expected).length, 1);
  });
});
