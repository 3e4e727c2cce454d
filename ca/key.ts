import { createHash, createPublicKey, type KeyObject, verify } from "node:crypto";

/** Largest public key that is looked at; a P-256 key has 91 bytes. */
export const PUBLIC_KEY_BYTES_MAX = 1024;
/** Largest proof that is looked at; ECDSA over P-256 in DER has at most 72 bytes. */
export const PROOF_BYTES_MAX = 128;

/**
 * The only form of a P-256 SubjectPublicKeyInfo with a named curve and an uncompressed point
 * (RFC 5480): all of it up to the two coordinates is fixed.
 */
const P256_PREFIX = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex");
const P256_BYTES = P256_PREFIX.length + 64;

/** The key, or why it is not acceptable. Only ECDSA P-256: other types and curves, compressed points and padding are refused. */
export function readPublicKey(spki: Uint8Array): { readonly key: KeyObject } | { readonly refused: string } {
  if (spki.length > PUBLIC_KEY_BYTES_MAX)
    return { refused: `the public key has ${spki.length} bytes, at most ${PUBLIC_KEY_BYTES_MAX} are read` };
  const bytes = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength);
  let key: KeyObject;
  try {
    // OpenSSL refuses points that are not on the curve.
    key = createPublicKey({ key: bytes, format: "der", type: "spki" });
  } catch {
    return { refused: "the public key is not a readable SubjectPublicKeyInfo" };
  }
  if (bytes.length === P256_BYTES && bytes.subarray(0, P256_PREFIX.length).equals(P256_PREFIX)) return { key };
  return { refused: `the public key is ${describe(key)}; send ECDSA P-256 as a named curve with an uncompressed point` };
}

/** What a caller signs to show that it holds the key: identity.proto, IssueRequest.proof. */
export function proofInput(token: string): Buffer {
  return Buffer.from(`weft-identity-proof-v1\n${createHash("sha256").update(token, "utf8").digest("hex")}`, "utf8");
}

/** Whether `proof` is an ECDSA-SHA256 signature (DER) by `key` over the token's hash. */
export function proofHolds(key: KeyObject, token: string, proof: Uint8Array): boolean {
  if (proof.length === 0 || proof.length > PROOF_BYTES_MAX) return false;
  try {
    return verify("sha256", proofInput(token), { key, dsaEncoding: "der" }, proof);
  } catch {
    return false;
  }
}

function describe(key: KeyObject): string {
  const type = key.asymmetricKeyType ?? "of an unknown type";
  const curve = key.asymmetricKeyDetails?.namedCurve;
  return curve === undefined ? type : `${type} on ${curve}`;
}
