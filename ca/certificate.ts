import { AsnConvert } from "@peculiar/asn1-schema";
import * as asn from "@peculiar/asn1-x509";

export const OID = {
  subjectKeyId: asn.id_ce_subjectKeyIdentifier,
  keyUsage: asn.id_ce_keyUsage,
  subjectAltName: asn.id_ce_subjectAltName,
  basicConstraints: asn.id_ce_basicConstraints,
  authorityKeyId: asn.id_ce_authorityKeyIdentifier,
  extendedKeyUsage: asn.id_ce_extKeyUsage,
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
} as const;

/** A certificate as its bytes say it, nothing checked beyond the encoding (RFC 5280 section 4.1). */
export interface Certificate {
  readonly der: Uint8Array;
  /** The signed part, octet by octet as it stands in `der`. */
  readonly tbs: Uint8Array;
  /** 3 for v3. */
  readonly version: number;
  /** Content octets of the INTEGER, as they stand. */
  readonly serial: Uint8Array;
  /** Inside and outside the signed part, whole AlgorithmIdentifiers. */
  readonly signedAlgorithm: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Extension[];
}

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** One general name. `other`: of a kind that no certificate of ours has. */
export interface GeneralName {
  readonly kind: "uri" | "dns" | "other";
  readonly text: string;
}

/**
 * Reads DER as a type of the library. The library takes BER and skips what follows the end, so we also ask that it
 * would have written the very same bytes: two readers cannot then see two certificates in them. Throws otherwise.
 */
export function decode<T>(der: Uint8Array, type: new () => T): T {
  const value = AsnConvert.parse(der, type);
  if (!equal(encode(value), der)) throw new Error("not in the one form that DER allows");
  return value;
}

/** DER of a value of one of the library's types. */
export function encode(value: unknown): Uint8Array {
  return new Uint8Array(AsnConvert.serialize(value));
}

/** Throws when the bytes are not one certificate in DER. */
export function parseCertificate(der: Uint8Array): Certificate {
  const { tbsCertificate: tbs, tbsCertificateRaw = new ArrayBuffer(0), signatureAlgorithm } = decode(der, asn.Certificate);
  return {
    der,
    tbs: new Uint8Array(tbsCertificateRaw),
    version: tbs.version + 1,
    serial: new Uint8Array(tbs.serialNumber),
    signedAlgorithm: encode(tbs.signature),
    signatureAlgorithm: encode(signatureAlgorithm),
    issuer: encode(tbs.issuer),
    subject: encode(tbs.subject),
    notBeforeMs: tbs.validity.notBefore.getTime().getTime(),
    notAfterMs: tbs.validity.notAfter.getTime().getTime(),
    publicKey: encode(tbs.subjectPublicKeyInfo),
    extensions: Array.from(tbs.extensions ?? [], (e) => ({
      oid: e.extnID,
      critical: e.critical,
      value: new Uint8Array(e.extnValue.buffer),
    })),
  };
}

export function extension(certificate: Certificate, oid: string): Extension | undefined {
  return certificate.extensions.find((e) => e.oid === oid);
}

/** All subject alternative names, in order; empty without the extension. */
export function subjectAltNames(certificate: Certificate): GeneralName[] {
  return Array.from(read(certificate, OID.subjectAltName, asn.SubjectAlternativeName) ?? [], (name) => {
    if (name.uniformResourceIdentifier !== undefined) return { kind: "uri", text: name.uniformResourceIdentifier };
    if (name.dNSName !== undefined) return { kind: "dns", text: name.dNSName };
    return { kind: "other", text: "" };
  });
}

/** The URI names. Bytes above 0x7f or control characters (CVE-2025-66220 was an embedded NUL) make a name that equals nothing valid. */
export function uriNames(certificate: Certificate): string[] {
  return subjectAltNames(certificate)
    .filter((name) => name.kind === "uri")
    .map((name) => name.text);
}

export function basicConstraints(certificate: Certificate): { ca: boolean; pathLength: number | null } | null {
  const found = read(certificate, OID.basicConstraints, asn.BasicConstraints);
  return found === null ? null : { ca: found.cA, pathLength: found.pathLenConstraint ?? null };
}

/** Numbers of the bits that are set; null without the extension. */
export function keyUsage(certificate: Certificate): number[] | null {
  const flags = read(certificate, OID.keyUsage, asn.KeyUsage)?.toNumber();
  if (flags === undefined) return null;
  return [0, 1, 2, 3, 4, 5, 6, 7, 8].filter((bit) => (flags & (1 << bit)) !== 0);
}

export function extendedKeyUsage(certificate: Certificate): string[] | null {
  const found = read(certificate, OID.extendedKeyUsage, asn.ExtendedKeyUsage);
  return found === null ? null : [...found];
}

export function subjectKeyId(certificate: Certificate): Uint8Array | null {
  const found = read(certificate, OID.subjectKeyId, asn.SubjectKeyIdentifier);
  return found === null ? null : new Uint8Array(found.buffer);
}

/** The keyIdentifier field; null without it. */
export function authorityKeyId(certificate: Certificate): Uint8Array | null {
  const found = read(certificate, OID.authorityKeyId, asn.AuthorityKeyIdentifier)?.keyIdentifier;
  return found === undefined ? null : new Uint8Array(found.buffer);
}

/** OID of an AlgorithmIdentifier. */
export function algorithmOid(algorithm: Uint8Array): string {
  return decode(algorithm, asn.AlgorithmIdentifier).algorithm;
}

/** What was read before: many rules ask for the same extension. */
const decoded = new WeakMap<Extension, unknown>();

/** What an extension says; null without it. */
function read<T>(certificate: Certificate, oid: string, type: new () => T): T | null {
  const found = extension(certificate, oid);
  if (found === undefined) return null;
  // Each OID is read as one type only.
  const known = decoded.get(found) as T | undefined;
  if (known !== undefined) return known;
  const value = decode(found.value, type);
  decoded.set(found, value);
  return value;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
