import { DerError, expectTag, oidText, readAll, readOne, TAG, type Tlv, timeMs } from "./der.ts";

export const OID = {
  subjectKeyId: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyId: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
} as const;

export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/** A certificate as its bytes say it, nothing checked beyond the encoding (RFC 5280 section 4.1). */
export interface Certificate {
  readonly der: Uint8Array;
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

/** One general name: context tag number and content. */
export interface GeneralName {
  readonly tag: number;
  readonly value: Uint8Array;
}

export const GENERAL_NAME = { dns: 2, uri: 6 } as const;

/** Throws `DerError` when the bytes are not one certificate. */
export function parseCertificate(der: Uint8Array): Certificate {
  const [tbsTlv, signatureAlgorithm, signature, ...rest] = readAll(readOne(der, TAG.sequence).value);
  expectTag(signature, TAG.bitString);
  if (rest.length > 0) throw new DerError("a certificate has three parts");
  const tbs = expectTag(tbsTlv, TAG.sequence);
  const fields = readAll(tbs.value);
  let version = 1;
  if (fields[0]?.tag === 0xa0) {
    const number = readOne(fields.shift()?.value ?? new Uint8Array(), TAG.integer).value;
    version = (number[0] ?? 0) + 1;
  }
  const [serial, signedAlgorithm, issuer, validity, subject, publicKey, ...optional] = fields;
  const [notBefore, notAfter, ...more] = readAll(expectTag(validity, TAG.sequence).value);
  if (more.length > 0) throw new DerError("a validity has two times");
  return {
    der,
    tbs: tbs.whole,
    version,
    serial: expectTag(serial, TAG.integer).value,
    signedAlgorithm: expectTag(signedAlgorithm, TAG.sequence).whole,
    signatureAlgorithm: expectTag(signatureAlgorithm, TAG.sequence).whole,
    issuer: expectTag(issuer, TAG.sequence).whole,
    subject: expectTag(subject, TAG.sequence).whole,
    notBeforeMs: timeMs(notBefore),
    notAfterMs: timeMs(notAfter),
    publicKey: expectTag(publicKey, TAG.sequence).whole,
    extensions: readExtensions(optional),
  };
}

export function extension(certificate: Certificate, oid: string): Extension | undefined {
  return certificate.extensions.find((e) => e.oid === oid);
}

/** All subject alternative names, in order; empty without the extension. */
export function subjectAltNames(certificate: Certificate): GeneralName[] {
  const found = extension(certificate, OID.subjectAltName);
  if (found === undefined) return [];
  return readAll(readOne(found.value, TAG.sequence).value).map((name) => ({ tag: name.tag & 0x1f, value: name.value }));
}

/** The URI names as text. Bytes above 0x7f or control characters (CVE-2025-66220 was an embedded NUL) make a name that equals nothing valid. */
export function uriNames(certificate: Certificate): string[] {
  return subjectAltNames(certificate)
    .filter((name) => name.tag === GENERAL_NAME.uri)
    .map((name) => Buffer.from(name.value).toString("latin1"));
}

export function basicConstraints(certificate: Certificate): { ca: boolean; pathLength: number | null } | null {
  const found = extension(certificate, OID.basicConstraints);
  if (found === undefined) return null;
  const parts = readAll(readOne(found.value, TAG.sequence).value);
  const ca = parts[0]?.tag === TAG.boolean && parts[0].value[0] === 0xff;
  const length = parts.find((p) => p.tag === TAG.integer);
  return { ca, pathLength: length === undefined ? null : (length.value[0] ?? 0) };
}

/** Numbers of the bits that are set; null without the extension. */
export function keyUsage(certificate: Certificate): number[] | null {
  const found = extension(certificate, OID.keyUsage);
  if (found === undefined) return null;
  const bits = readOne(found.value, TAG.bitString).value.subarray(1);
  const out: number[] = [];
  bits.forEach((byte, i) => {
    for (let bit = 0; bit < 8; bit++) if ((byte & (0x80 >> bit)) !== 0) out.push(i * 8 + bit);
  });
  return out;
}

export function extendedKeyUsage(certificate: Certificate): string[] | null {
  const found = extension(certificate, OID.extendedKeyUsage);
  if (found === undefined) return null;
  return readAll(readOne(found.value, TAG.sequence).value).map((p) => oidText(expectTag(p, TAG.oid).value));
}

export function subjectKeyId(certificate: Certificate): Uint8Array | null {
  const found = extension(certificate, OID.subjectKeyId);
  return found === undefined ? null : readOne(found.value, TAG.octetString).value;
}

/** The keyIdentifier field; null without it. */
export function authorityKeyId(certificate: Certificate): Uint8Array | null {
  const found = extension(certificate, OID.authorityKeyId);
  if (found === undefined) return null;
  return readAll(readOne(found.value, TAG.sequence).value).find((p) => p.tag === 0x80)?.value ?? null;
}

/** OID of an AlgorithmIdentifier. */
export function algorithmOid(algorithm: Uint8Array): string {
  return oidText(expectTag(readAll(readOne(algorithm, TAG.sequence).value)[0], TAG.oid).value);
}

function readExtensions(optional: readonly Tlv[]): Extension[] {
  const block = optional.find((p) => p.tag === 0xa3);
  if (block === undefined) return [];
  return readAll(readOne(block.value, TAG.sequence).value).map((element) => {
    const parts = readAll(expectTag(element, TAG.sequence).value);
    const oid = oidText(expectTag(parts[0], TAG.oid).value);
    const critical = parts[1]?.tag === TAG.boolean;
    if (critical && (parts[1]?.value.length !== 1 || parts[1].value[0] !== 0xff)) throw new DerError("critical is TRUE or absent in DER");
    return { oid, critical, value: expectTag(parts[critical ? 2 : 1], TAG.octetString).value };
  });
}
