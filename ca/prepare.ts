import { createHash } from "node:crypto";
import { OctetString } from "@peculiar/asn1-schema";
import * as asn from "@peculiar/asn1-x509";
import { type Certificate, decode, encode, OID, parseCertificate, subjectKeyId } from "./certificate.ts";
import { readPublicKey } from "./key.ts";
import { type Expected, lintParsed } from "./lint.ts";
import { BACKDATE_MS, type Profile } from "./profiles.ts";

export interface PrepareRequest {
  readonly profile: Profile;
  /** SubjectPublicKeyInfo of the subject, DER. */
  readonly publicKey: Uint8Array;
  /** The SPIFFE id; for root and issuer `spiffe://<trust domain>`. */
  readonly uri: string;
  readonly dnsNames?: readonly string[];
  /** Common name: authorities only, which need a subject. */
  readonly commonName?: string;
  /** Issuer first, root last; empty for the root itself. NotAfter is clamped to the first end among them. */
  readonly chain: readonly Certificate[];
  readonly nowMs: number;
  /** Lifetime from now. */
  readonly ttlMs: number;
  /** Sixteen random bytes; see `serialFrom`. */
  readonly serial: Uint8Array;
}

/** A certificate that passed every lint rule and only lacks its signature. Can be signed once. */
export interface Prepared {
  readonly profile: Profile;
  readonly uri: string;
  /** The certificate as it was linted: nothing stands where the signature will. DER. */
  readonly unsigned: Uint8Array;
  /** The part of it to sign. */
  readonly tbs: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface Refusal {
  readonly refused: string;
  /** The caller's key is at fault; otherwise ours or the resource's. */
  readonly keyRefused: boolean;
}

const COMMON_NAME = "2.5.4.3";
/** RFC 5758 section 3.2: no parameters. */
const ECDSA_WITH_SHA256 = new asn.AlgorithmIdentifier({ algorithm: OID.ecdsaWithSha256 });
/** The last octets of a P-256 SubjectPublicKeyInfo: 4, x, y. `readPublicKey` has seen that they are. */
const P256_POINT_BYTES = 65;

/** What `prepare` made and `sign` has not yet used: nothing else may be signed. */
const unsigned = new WeakSet<Prepared>();

/**
 * Builds the certificate and lints its encoded form, with nothing where the signature will be: whatever the builder
 * did wrong is found before the CA's key has touched it. What is signed then is those very bytes (Boulder's idea).
 */
export function prepare(request: PrepareRequest): Prepared | Refusal {
  const { profile, chain, nowMs } = request;
  const key = readPublicKey(request.publicKey);
  if ("refused" in key) return { refused: key.refused, keyRefused: true };
  if (request.ttlMs < profile.ttlMsMin || request.ttlMs > profile.ttlMsMax) {
    return { refused: `a lifetime of ${request.ttlMs} ms is outside ${profile.ttlMsMin} to ${profile.ttlMsMax} ms`, keyRefused: false };
  }
  const notBeforeMs = wholeSecond(Math.max(nowMs - BACKDATE_MS, ...chain.map((c) => c.notBeforeMs)));
  const notAfterMs = wholeSecond(Math.min(nowMs + request.ttlMs, ...chain.map((c) => c.notAfterMs)));
  const tbsCertificate = toBeSigned(request, notBeforeMs, notAfterMs);
  const certificate = parseCertificate(encode(new asn.Certificate({ tbsCertificate, signatureAlgorithm: ECDSA_WITH_SHA256 })));
  const expected: Expected = { profile, uri: request.uri, dnsNames: request.dnsNames ?? [], nowMs, chain };
  const broken = lintParsed(certificate, expected);
  if (broken.length > 0) return { refused: broken.join("; "), keyRefused: false };
  const prepared: Prepared = { profile, uri: request.uri, unsigned: certificate.der, tbs: certificate.tbs, notBeforeMs, notAfterMs };
  unsigned.add(prepared);
  return prepared;
}

/** True once for what `prepare` returned, false ever after and for anything else. */
export function redeem(prepared: Prepared): boolean {
  return unsigned.delete(prepared);
}

/** Makes random bytes a serial: positive, and never shorter than it looks (a leading zero octet would be padding). */
export function serialFrom(random: Uint8Array): Uint8Array {
  const serial = Uint8Array.from(random);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

function toBeSigned(request: PrepareRequest, notBeforeMs: number, notAfterMs: number): asn.TBSCertificate {
  const subject = request.commonName === undefined ? new asn.Name() : nameOf(request.commonName);
  const issuer = request.chain[0];
  return new asn.TBSCertificate({
    version: asn.Version.v3,
    serialNumber: Uint8Array.from(request.serial).buffer,
    signature: ECDSA_WITH_SHA256,
    issuer: issuer === undefined ? subject : decode(issuer.subject, asn.Name),
    validity: new asn.Validity({ notBefore: new Date(notBeforeMs), notAfter: new Date(notAfterMs) }),
    subject,
    subjectPublicKeyInfo: decode(request.publicKey, asn.SubjectPublicKeyInfo),
    extensions: new asn.Extensions(extensions(request)),
  });
}

function extensions(request: PrepareRequest): asn.Extension[] {
  const { profile, chain } = request;
  const issuer = chain[0];
  const keyId = keyIdOf(request.publicKey);
  const issuerKeyId = (issuer === undefined ? null : subjectKeyId(issuer)) ?? keyId;
  const names = [
    new asn.GeneralName({ uniformResourceIdentifier: request.uri }),
    ...(request.dnsNames ?? []).map((dNSName) => new asn.GeneralName({ dNSName })),
  ];
  const pathLength = profile.pathLength === null ? {} : { pathLenConstraint: profile.pathLength };
  const usage = profile.keyUsage.reduce((flags, bit) => flags | (1 << bit), 0);
  const usages = profile.extendedKeyUsage;
  return [
    extension(OID.basicConstraints, true, new asn.BasicConstraints({ cA: profile.ca, ...pathLength })),
    extension(OID.keyUsage, true, new asn.KeyUsage(usage)),
    ...(usages.length === 0 ? [] : [extension(OID.extendedKeyUsage, false, new asn.ExtendedKeyUsage([...usages]))]),
    // RFC 5280 section 4.2.1.6: critical when the subject is empty.
    extension(OID.subjectAltName, request.commonName === undefined, new asn.SubjectAlternativeName(names)),
    extension(OID.subjectKeyId, false, new asn.SubjectKeyIdentifier(keyId)),
    extension(OID.authorityKeyId, false, new asn.AuthorityKeyIdentifier({ keyIdentifier: new asn.KeyIdentifier(issuerKeyId) })),
  ];
}

function extension(extnID: string, critical: boolean, value: unknown): asn.Extension {
  return new asn.Extension({ extnID, critical, extnValue: new OctetString(encode(value)) });
}

function nameOf(commonName: string): asn.Name {
  const value = new asn.AttributeValue({ utf8String: commonName });
  return new asn.Name([new asn.RelativeDistinguishedName([new asn.AttributeTypeAndValue({ type: COMMON_NAME, value })])]);
}

/** RFC 5280 section 4.2.1.2, method 1: SHA-1 of the public key's bits. It names a key, it protects nothing. */
function keyIdOf(publicKey: Uint8Array): Uint8Array {
  return createHash("sha1").update(publicKey.subarray(-P256_POINT_BYTES)).digest();
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
