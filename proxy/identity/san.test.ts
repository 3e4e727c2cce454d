import assert from "node:assert/strict";
import { type Authority, KEY_USAGE, type LeafRequest, makeAuthority, sanOf } from "./testdata/authority.ts";
import { judgeSvid, readSvid, spiffeIdOf } from "./san.ts";

const ID = "spiffe://cluster.local/ns/shop/sa/cart";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const NUL = "\u0000";

let authority: Authority;
beforeAll(async () => {
  authority = await makeAuthority();
});

describe("the SPIFFE id of a certificate", () => {
  const accepted: { name: string; leaf: LeafRequest; id?: string }[] = [
    { name: "is its one URI SAN", leaf: { uris: [ID] } },
    { name: "is read beside DNS names, of which an SVID may have any number", leaf: { dns: ["cart.shop", "cart"], uris: [ID] } },
    { name: "is read when cA=FALSE is said, not only left out", leaf: { uris: [ID], isCa: false } },
    { name: "is read without extKeyUsage, which is not demanded", leaf: { uris: [ID], extendedKeyUsage: null } },
    {
      name: "is read when keyUsage also has keyAgreement",
      leaf: { uris: [ID], keyUsage: KEY_USAGE.digitalSignature | KEY_USAGE.keyAgreement },
    },
    { name: "is read when the subject has names of its own", leaf: { uris: [ID], subject: "CN=spiffe://cluster.local/ns/shop/sa/admin" } },
    {
      name: "is read in another trust domain: whether we trust that is the chain's business",
      leaf: { uris: ["spiffe://other/x"] },
      id: "spiffe://other/x",
    },
    {
      name: "is read beside an otherName that has the id of another inside, behind a NUL (CVE-2025-66220)",
      leaf: { sanDer: sanOf([0xa0, `\u0006\u0003\u0055\u0004\u0003URI:spiffe://cluster.local/ns/shop/sa/admin${NUL}`], [0x86, ID]) },
    },
    {
      name: "is read when it is exactly 2048 octets long",
      leaf: { uris: [`spiffe://td/${"a".repeat(2036)}`] },
      id: `spiffe://td/${"a".repeat(2036)}`,
    },
  ];
  it.each(accepted)("$name", async ({ leaf, id }) => {
    const { der } = await authority.issue(leaf);
    assert.deepEqual(judgeSvid(der), { id: id ?? ID, trustDomain: (id ?? ID).split("/")[2] });
  });

  const refused: { name: string; leaf: LeafRequest; reason: RegExp }[] = [
    { name: "no SAN at all", leaf: { subject: "CN=x" }, reason: /0 URI names/ },
    { name: "the id as common name only", leaf: { subject: `CN=${ID}` }, reason: /0 URI names/ },
    { name: "the id as DNS name", leaf: { dns: [ID] }, reason: /0 URI names/ },
    { name: "a DNS name that prints as a URI in Node's text", leaf: { dns: [`x, URI:${ID}`] }, reason: /0 URI names/ },
    { name: "two URI names", leaf: { uris: [ID, "spiffe://cluster.local/ns/shop/sa/admin"] }, reason: /2 URI names/ },
    { name: "the same URI twice", leaf: { uris: [ID, ID] }, reason: /2 URI names/ },
    { name: "a URI that is an id and a second of another scheme", leaf: { uris: [ID, "https://example.com/"] }, reason: /2 URI names/ },
    { name: "an https URI", leaf: { uris: ["https://cluster.local/ns/shop/sa/cart"] }, reason: /not a workload/ },
    { name: "the scheme in capitals", leaf: { uris: ["SPIFFE://cluster.local/ns/shop/sa/cart"] }, reason: /not a workload/ },
    { name: "a trust domain in capitals", leaf: { uris: ["spiffe://Cluster.local/ns/shop/sa/cart"] }, reason: /not a workload/ },
    { name: "the root path: a trust domain is no workload", leaf: { uris: ["spiffe://cluster.local"] }, reason: /not a workload/ },
    { name: "an empty path", leaf: { uris: ["spiffe://cluster.local/"] }, reason: /not a workload/ },
    { name: "a trailing slash", leaf: { uris: [`${ID}/`] }, reason: /not a workload/ },
    { name: "a percent-encoded octet", leaf: { uris: ["spiffe://cluster.local/ns/shop/sa/c%61rt"] }, reason: /not a workload/ },
    { name: "a dot-dot segment", leaf: { uris: ["spiffe://cluster.local/ns/shop/sa/x/../cart"] }, reason: /not a workload/ },
    { name: "an empty segment", leaf: { uris: ["spiffe://cluster.local/ns//sa/cart"] }, reason: /not a workload/ },
    { name: "a port", leaf: { uris: ["spiffe://cluster.local:80/ns/shop/sa/cart"] }, reason: /not a workload/ },
    { name: "a query", leaf: { uris: [`${ID}?x=1`] }, reason: /not a workload/ },
    { name: "a NUL behind the id", leaf: { sanDer: sanOf([0x86, `${ID}${NUL}.evil`]) }, reason: /not a workload/ },
    { name: "octets beyond ASCII", leaf: { sanDer: sanOf([0x86, `${ID}é`]) }, reason: /not a workload/ },
    { name: "2049 octets", leaf: { uris: [`spiffe://td/${"a".repeat(2037)}`] }, reason: /not a workload/ },
    { name: "a URI tagged as constructed, which is not DER", leaf: { sanDer: sanOf([0xa6, ID]) }, reason: /malformed/ },
    {
      name: "a name whose length runs out of its container",
      leaf: { sanDer: new Uint8Array([0x30, 3, 0x86, 9, 0x61]) },
      reason: /malformed/,
    },
    { name: "an empty list of names", leaf: { sanDer: sanOf() }, reason: /malformed/ },
    { name: "cA=TRUE", leaf: { uris: [ID], isCa: true }, reason: /CA certificate/ },
    {
      name: "keyCertSign",
      leaf: { uris: [ID], keyUsage: KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign },
      reason: /signing certificates/,
    },
    { name: "cRLSign", leaf: { uris: [ID], keyUsage: KEY_USAGE.digitalSignature | KEY_USAGE.cRLSign }, reason: /signing certificates/ },
    { name: "no keyUsage", leaf: { uris: [ID], keyUsage: null }, reason: /no keyUsage/ },
    { name: "keyUsage without digitalSignature", leaf: { uris: [ID], keyUsage: KEY_USAGE.keyAgreement }, reason: /digitalSignature/ },
    { name: "extKeyUsage for servers only", leaf: { uris: [ID], extendedKeyUsage: [SERVER_AUTH] }, reason: /both/ },
    { name: "extKeyUsage for clients only", leaf: { uris: [ID], extendedKeyUsage: [CLIENT_AUTH] }, reason: /both/ },
    { name: "extKeyUsage for code signing", leaf: { uris: [ID], extendedKeyUsage: ["1.3.6.1.5.5.7.3.3"] }, reason: /both/ },
  ];
  it.each(refused)("is none with $name", async ({ leaf, reason }) => {
    const { der } = await authority.issue(leaf);
    assert.equal(spiffeIdOf(der), null);
    assert.match(JSON.stringify(judgeSvid(der)), reason);
  });

  it("is none of the root that issued it", () => {
    assert.equal(spiffeIdOf(authority.rootDer), null);
  });

  it("is none of octets that are no certificate", () => {
    for (const octets of [[], [0x30], [0x30, 0x80, 0, 0], [0x30, 0x84, 0xff, 0xff, 0xff, 0xff], new Array(70_000).fill(0x30)]) {
      assert.equal(spiffeIdOf(Uint8Array.from(octets)), null);
    }
  });
});

describe("reading a certificate", () => {
  it("gives what stands in it", async () => {
    const { der } = await authority.issue({
      uris: [ID, "https://x/"],
      isCa: true,
      keyUsage: KEY_USAGE.keyCertSign,
      extendedKeyUsage: [CLIENT_AUTH],
    });
    assert.deepEqual(readSvid(der), {
      uris: [ID, "https://x/"],
      isCa: true,
      keyUsage: { digitalSignature: false, keyCertSign: true, crlSign: false, critical: true },
      extendedKeyUsage: { serverAuth: false, clientAuth: true },
    });
  });

  it("refuses every prefix and any octet behind the end", async () => {
    const { der } = await authority.issue({ uris: [ID] });
    for (let end = 0; end < der.length; end++) assert.equal(spiffeIdOf(der.subarray(0, end)), null, `prefix of ${end}`);
    assert.equal(spiffeIdOf(Buffer.concat([der, Buffer.from([0])])), null);
  });

  it("never throws, and never finds another id than was written, in 10^4 mutated certificates", async () => {
    const { der } = await authority.issue({ dns: ["cart"], uris: [ID], isCa: false });
    // A generator of its own (xorshift) with a fixed seed: a failure can be run again.
    let state = 0x9e3779b9;
    const draw = (below: number): number => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
    const uriAt = Buffer.from(der).indexOf(ID);
    for (let round = 0; round < 10_000; round++) {
      const mutated = Uint8Array.from(der);
      const flips = 1 + draw(3);
      for (let i = 0; i < flips; i++) mutated[draw(mutated.length)] = draw(256);
      const untouched = Buffer.from(mutated)
        .subarray(uriAt, uriAt + ID.length)
        .toString("latin1");
      const found = spiffeIdOf(mutated);
      assert.ok(found === null || found === untouched || untouched !== ID, `round ${round}: ${found}`);
    }
  });
});
