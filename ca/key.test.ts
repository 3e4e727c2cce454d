import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { proofHolds, proofInput, readPublicKey } from "./key.ts";

const spki = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" });
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const p256 = ec("P-256");
const good = spki(p256.publicKey);

const compressed = (): Buffer => {
  const point = Buffer.concat([Buffer.of(((good.at(-1) ?? 0) & 1) === 1 ? 3 : 2), good.subarray(-64, -32)]);
  return Buffer.concat([Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex"), point]);
};
const offCurve = (): Buffer => {
  const bad = Buffer.from(good);
  bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
  return bad;
};

const REFUSED: readonly { readonly name: string; readonly key: () => Uint8Array }[] = [
  { name: "RSA 2048", key: () => spki(generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey) },
  { name: "RSA 512", key: () => Buffer.from(`305c300d06092a864886f70d0101010500034b003048024100${"c1".repeat(64)}0203010001`, "hex") },
  { name: "P-224", key: () => spki(ec("secp224r1").publicKey) },
  { name: "P-384", key: () => spki(ec("P-384").publicKey) },
  { name: "P-521", key: () => spki(ec("P-521").publicKey) },
  { name: "secp256k1", key: () => spki(ec("secp256k1").publicKey) },
  { name: "Ed25519", key: () => spki(generateKeyPairSync("ed25519").publicKey) },
  { name: "X25519", key: () => spki(generateKeyPairSync("x25519").publicKey) },
  { name: "a compressed point", key: compressed },
  { name: "a point that is not on the curve", key: offCurve },
  { name: "nothing", key: () => new Uint8Array() },
  { name: "bytes of no meaning", key: () => Buffer.from("not a key") },
  { name: "bytes after the key", key: () => Buffer.concat([good, Buffer.of(0)]) },
  { name: "a key that is cut off", key: () => good.subarray(0, -1) },
  { name: "more than 1 KiB", key: () => Buffer.concat([good, Buffer.alloc(1024)]) },
  { name: "a private key", key: () => p256.privateKey.export({ format: "der", type: "pkcs8" }) },
];

describe("a caller's public key", () => {
  it("is taken when it is ECDSA P-256", () => {
    assert.ok("key" in readPublicKey(good));
  });

  it.each(REFUSED)("is refused when it is $name", ({ key }) => {
    assert.ok("refused" in readPublicKey(key()));
  });
});

describe("a proof of possession", () => {
  const token = "token of a pod";
  const make = (key: KeyObject, over: Buffer, dsaEncoding: "der" | "ieee-p1363" = "der") => sign("sha256", over, { key, dsaEncoding });

  it("is over the prefix and the token's hash in lower-case hex", () => {
    const hash = createHash("sha256").update(token).digest("hex");
    assert.equal(proofInput(token).toString(), `weft-identity-proof-v1\n${hash}`);
  });

  it("holds for the key that signed it", () => {
    assert.equal(proofHolds(p256.publicKey, token, make(p256.privateKey, proofInput(token))), true);
  });

  it.each([
    { name: "another key", proof: () => make(ec("P-256").privateKey, proofInput(token)) },
    { name: "another token", proof: () => make(p256.privateKey, proofInput("other")) },
    { name: "the bare token", proof: () => make(p256.privateKey, Buffer.from(token)) },
    { name: "the raw r and s instead of DER", proof: () => make(p256.privateKey, proofInput(token), "ieee-p1363") },
    { name: "nothing", proof: () => Buffer.alloc(0) },
    { name: "a megabyte", proof: () => Buffer.alloc(1 << 20) },
  ])("does not hold when it is $name", ({ proof }) => {
    assert.equal(proofHolds(p256.publicKey, token, proof()), false);
  });
});
