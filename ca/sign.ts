import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import * as asn from "@peculiar/asn1-x509";
import { encode } from "./certificate.ts";
import { type Prepared, redeem } from "./prepare.ts";

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
    const certificate = AsnConvert.parse(prepared.unsigned, asn.Certificate);
    certificate.signatureValue = new Uint8Array(signature).buffer;
    const der = encode(certificate);
    // Two faults in one check of 0.1 ms: a signature made wrongly can give the key away (Lenstra), and an encoder that
    // now writes other octets than were linted would have them stand under a signature for those.
    if (!new X509Certificate(der).verify(this.#public)) throw new Error("the signature made does not verify");
    return der;
  }
}
