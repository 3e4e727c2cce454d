import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from "node:crypto";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import * as asn from "@peculiar/asn1-x509";

/**
 * The webhook's own small authority: it vouches for one server name to API servers, and for nothing else. It is not the
 * mesh's CA, so that pods can be created while that is being replaced, and a thief of this key gets into no workload.
 */
export interface WebhookKeys {
  /** PEM. Newest first; two while one authority takes over from another. This is the webhooks' caBundle. */
  readonly caCert: string;
  readonly caKey: string;
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 24 * 3_600_000;
const CA_LIFE_MS = 3_650 * DAY_MS;
/** Longer than a leaf lives: the leaf of the old authority ends before it. */
const CA_RENEW_MS = 365 * DAY_MS;
const LIFE_MS = 90 * DAY_MS;
const RENEW_MS = 30 * DAY_MS;
/** For API servers whose clocks are behind. */
const BACKDATE_MS = 5 * 60_000;
const SERIAL_BYTES = 16;
const COMMON_NAME = "2.5.4.3";
const ECDSA_WITH_SHA256 = new asn.AlgorithmIdentifier({ algorithm: "1.2.840.10045.4.3.2" });
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/**
 * What the keys should be now: the same object where nothing has to change. An authority that ends within a year is
 * followed by another, and both are trusted; the leaf follows when it is due, so that it is never signed by an
 * authority that API servers were not told of before.
 */
export function renewed(
  present: WebhookKeys | null,
  dnsNames: readonly string[],
  nowMs: number,
  randomBytes: (n: number) => Uint8Array,
): WebhookKeys {
  const authority = present === null ? null : readAuthority(present);
  let keys = present;
  if (authority === null || authority.notAfterMs - nowMs < CA_RENEW_MS) {
    const made = makeAuthority(nowMs, randomBytes);
    const still = authority === null || authority.notAfterMs <= nowMs ? "" : first(present!.caCert);
    keys = { caCert: made.cert + still, caKey: made.key, cert: still === "" ? "" : present!.cert, key: still === "" ? "" : present!.key };
  }
  return keys === null || !isLeafGood(keys, dnsNames, nowMs) ? issue(keys!, dnsNames, nowMs, randomBytes) : keys;
}

function isLeafGood({ cert, key, caCert }: WebhookKeys, dnsNames: readonly string[], nowMs: number): boolean {
  try {
    const leaf = new X509Certificate(cert);
    const signed = blocks(caCert).some((pem) => leaf.verify(new X509Certificate(pem).publicKey));
    const named = dnsNames.every((name) => leaf.checkHost(name) !== undefined);
    return signed && named && leaf.checkPrivateKey(createPrivateKey(key)) && leaf.validToDate.getTime() - nowMs > RENEW_MS;
  } catch {
    return false;
  }
}

/** Null when it cannot be read or the key is another's. */
function readAuthority({ caCert, caKey }: WebhookKeys): { notAfterMs: number } | null {
  try {
    const certificate = new X509Certificate(caCert);
    return certificate.ca && certificate.checkPrivateKey(createPrivateKey(caKey))
      ? { notAfterMs: certificate.validToDate.getTime() }
      : null;
  } catch {
    return null;
  }
}

function makeAuthority(nowMs: number, randomBytes: (n: number) => Uint8Array): { cert: string; key: string } {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const serial = serialOf(randomBytes);
  // A name of its own: two authorities of one name would be taken for one another.
  const name = nameOf(`weft-injector ${Buffer.from(serial.subarray(0, 4)).toString("hex")}`);
  const extensions = [
    extension(asn.id_ce_basicConstraints, true, new asn.BasicConstraints({ cA: true, pathLenConstraint: 0 })),
    extension(asn.id_ce_keyUsage, true, new asn.KeyUsage(asn.KeyUsageFlags.keyCertSign)),
  ];
  const cert = certify({ subject: name, issuer: name, own: privateKey, by: privateKey, serial, nowMs, lifeMs: CA_LIFE_MS, extensions });
  return { cert, key: pemOf(privateKey) };
}

function issue(keys: WebhookKeys, dnsNames: readonly string[], nowMs: number, randomBytes: (n: number) => Uint8Array): WebhookKeys {
  const by = createPrivateKey(keys.caKey);
  const issuer = AsnConvert.parse(new X509Certificate(keys.caCert).raw, asn.Certificate).tbsCertificate.subject;
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const names = dnsNames.map((dNSName) => new asn.GeneralName({ dNSName }));
  const extensions = [
    extension(asn.id_ce_basicConstraints, true, new asn.BasicConstraints({ cA: false })),
    extension(asn.id_ce_keyUsage, true, new asn.KeyUsage(asn.KeyUsageFlags.digitalSignature)),
    extension(asn.id_ce_extKeyUsage, false, new asn.ExtendedKeyUsage([SERVER_AUTH])),
    extension(asn.id_ce_subjectAltName, true, new asn.SubjectAlternativeName(names)),
  ];
  const serial = serialOf(randomBytes);
  const cert = certify({ subject: new asn.Name(), issuer, own: privateKey, by, serial, nowMs, lifeMs: LIFE_MS, extensions });
  return { ...keys, cert, key: pemOf(privateKey) };
}

interface Certify {
  readonly subject: asn.Name;
  readonly issuer: asn.Name;
  /** Whose key it is, and whose signature. */
  readonly own: KeyObject;
  readonly by: KeyObject;
  readonly serial: Uint8Array;
  readonly nowMs: number;
  readonly lifeMs: number;
  readonly extensions: readonly asn.Extension[];
}

function certify({ subject, issuer, own, by, serial, nowMs, lifeMs, extensions }: Certify): string {
  const wholeSecond = (ms: number): Date => new Date(Math.floor(ms / 1000) * 1000);
  const tbsCertificate = new asn.TBSCertificate({
    version: asn.Version.v3,
    serialNumber: Uint8Array.from(serial).buffer,
    signature: ECDSA_WITH_SHA256,
    issuer,
    validity: new asn.Validity({ notBefore: wholeSecond(nowMs - BACKDATE_MS), notAfter: wholeSecond(nowMs + lifeMs) }),
    subject,
    subjectPublicKeyInfo: AsnConvert.parse(spki(own), asn.SubjectPublicKeyInfo),
    extensions: new asn.Extensions([
      ...extensions,
      extension(asn.id_ce_subjectKeyIdentifier, false, new asn.SubjectKeyIdentifier(keyId(own))),
      extension(
        asn.id_ce_authorityKeyIdentifier,
        false,
        new asn.AuthorityKeyIdentifier({ keyIdentifier: new asn.KeyIdentifier(keyId(by)) }),
      ),
    ]),
  });
  const tbs = Buffer.from(AsnConvert.serialize(tbsCertificate));
  const signatureValue = Uint8Array.from(sign("sha256", tbs, { key: by, dsaEncoding: "der" })).buffer;
  const der = AsnConvert.serialize(new asn.Certificate({ tbsCertificate, signatureAlgorithm: ECDSA_WITH_SHA256, signatureValue }));
  return new X509Certificate(Buffer.from(der)).toString();
}

function extension(extnID: string, critical: boolean, value: unknown): asn.Extension {
  return new asn.Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function nameOf(commonName: string): asn.Name {
  const value = new asn.AttributeValue({ utf8String: commonName });
  return new asn.Name([new asn.RelativeDistinguishedName([new asn.AttributeTypeAndValue({ type: COMMON_NAME, value })])]);
}

/** RFC 5280 section 4.1.2.2: positive, and in the fewest octets. */
function serialOf(randomBytes: (n: number) => Uint8Array): Uint8Array {
  const serial = Uint8Array.from(randomBytes(SERIAL_BYTES));
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

function spki(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: "der", type: "spki" });
}

/** RFC 5280 section 4.2.1.2 allows any that is unique; shortened SHA-256 as in RFC 7093. */
function keyId(key: KeyObject): Uint8Array {
  return createHash("sha256").update(spki(key)).digest().subarray(0, 20);
}

function pemOf(key: KeyObject): string {
  return key.export({ format: "pem", type: "pkcs8" }) as string;
}

function blocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
}

function first(pem: string): string {
  return blocks(pem)[0] ?? "";
}
