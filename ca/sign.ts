import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { type Prepared, redeem } from "./prepare.ts";

/** AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 section 3.2: no parameters). */
const ECDSA_WITH_SHA256 = Buffer.from("300a06082a8648ce3d040302", "hex");

/**
 * The private key of a root or an issuer. This is the only file of the room that touches one: it can sign
 * what `prepare` let through, once, and be written to its file.
 */
export class IssuerKey {
  readonly #key: KeyObject;
  readonly #public: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
    this.#public = createPublicKey(key);
  }

  static generate(): IssuerKey {
    return new IssuerKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey);
  }

  /** Throws when the text is not an unencrypted private key on P-256. */
  static fromPem(pem: string): IssuerKey {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new Error("not an ECDSA P-256 key");
    return new IssuerKey(key);
  }

  toPem(): string {
    return this.#key.export({ format: "pem", type: "pkcs8" }) as string;
  }

  /** SubjectPublicKeyInfo, DER. */
  publicKey(): Uint8Array {
    return new Uint8Array(this.#public.export({ format: "der", type: "spki" }));
  }

  /** The finished certificate, DER. Throws for anything that did not come from `prepare`, or came twice. */
  sign(prepared: Prepared): Uint8Array {
    if (!redeem(prepared)) throw new Error("only a prepared certificate can be signed, and only once");
    const signature = sign("sha256", prepared.tbs, { key: this.#key, dsaEncoding: "der" });
    // A fault while signing can give the key away (Lenstra); the check costs 0.1 ms.
    if (!verify("sha256", prepared.tbs, { key: this.#public, dsaEncoding: "der" }, signature))
      throw new Error("the signature made does not verify");
    const bits = element(0x03, Buffer.concat([Buffer.of(0), signature]));
    return new Uint8Array(element(0x30, Buffer.concat([prepared.tbs, ECDSA_WITH_SHA256, bits])));
  }
}

/** One DER element of less than 64 KiB. */
function element(tag: number, value: Buffer): Buffer {
  const length = value.length;
  const header = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), value]);
}
