import { parseSpiffeId } from "#api/spiffe.ts";
import * as x from "./certificate.ts";
import { readPublicKey } from "./key.ts";
import { BACKDATE_MS, type Profile, SERIAL_BYTES } from "./profiles.ts";

/** What the certificate was meant to be. */
export interface Expected {
  readonly profile: Profile;
  /** The one URI: a SPIFFE id; for root and issuer `spiffe://<trust domain>`. */
  readonly uri: string;
  readonly dnsNames: readonly string[];
  readonly nowMs: number;
  /** Issuer first, root last; empty for the root itself. */
  readonly chain: readonly x.Certificate[];
}

export interface LintRule {
  readonly name: string;
  /** Where the rule comes from. */
  readonly source: string;
  /** What is wrong, or null. May throw on bytes that cannot be read: that counts as wrong. */
  check(certificate: x.Certificate, expected: Expected): string | null;
}

/** Times in certificates have whole seconds. */
const SECOND_MS = 1000;

/** Extensions that a certificate of ours may have. */
const ALLOWED: readonly string[] = [
  x.OID.subjectKeyId,
  x.OID.keyUsage,
  x.OID.subjectAltName,
  x.OID.basicConstraints,
  x.OID.authorityKeyId,
  x.OID.extendedKeyUsage,
];

/** Every rule, checked on the encoded certificate before the CA's key signs it. */
export const LINT_RULES: readonly LintRule[] = [
  {
    name: "is version 3",
    source: "RFC 5280 section 4.1.2.1: extensions need v3",
    check: (c) => (c.version === 3 ? null : `version ${c.version}`),
  },
  {
    name: "has a positive random serial of 16 octets",
    source: "RFC 5280 section 4.1.2.2 (positive, at most 20 octets); CA/Browser Forum (64 random bits)",
    check: (c) => {
      const first = c.serial[0] ?? 0;
      return c.serial.length === SERIAL_BYTES && first > 0 && first < 0x80 ? null : `serial ${hex(c.serial)}`;
    },
  },
  {
    name: "is signed by ECDSA with SHA-256, said alike inside and outside",
    source: "RFC 5280 section 4.1.1.2",
    check: (c) =>
      equal(c.signedAlgorithm, c.signatureAlgorithm) && x.algorithmOid(c.signedAlgorithm) === x.OID.ecdsaWithSha256
        ? null
        : "signature algorithms",
  },
  {
    name: "has a P-256 key",
    source: "house profile; RFC 5480",
    check: (c) => {
      const key = readPublicKey(c.publicKey);
      return "refused" in key ? key.refused : null;
    },
  },
  {
    name: "is valid now and not backdated by more than five minutes",
    source: "house profile (BACKDATE_MS)",
    check: (c, e) =>
      c.notBeforeMs <= e.nowMs && c.notBeforeMs >= e.nowMs - BACKDATE_MS - SECOND_MS ? null : `notBefore ${iso(c.notBeforeMs)}`,
  },
  {
    name: "ends after now and within the longest lifetime of its profile",
    source: "house profile (ttlMsMax)",
    check: (c, e) => (c.notAfterMs > e.nowMs && c.notAfterMs <= e.nowMs + e.profile.ttlMsMax ? null : `notAfter ${iso(c.notAfterMs)}`),
  },
  {
    name: "lives inside the lifetime of every certificate above it",
    source: "house profile: a leaf that outlives its chain fails at the peer without a hint",
    check: (c, e) =>
      e.chain.every((above) => above.notBeforeMs <= c.notBeforeMs && above.notAfterMs >= c.notAfterMs) ? null : "validity is not nested",
  },
  {
    name: "names its issuer as the issuer names itself",
    source: "RFC 5280 section 6.1.3 (a)(4)",
    check: (c, e) => (equal(c.issuer, e.chain[0]?.subject ?? c.subject) ? null : "issuer name"),
  },
  {
    name: "has a subject exactly when it is an authority",
    source: "RFC 5280 section 4.1.2.6; X509-SVID section 2: subject not required",
    check: (c, e) => (isEmptyName(c.subject) !== e.profile.ca ? null : "subject"),
  },
  {
    name: "has exactly one URI name",
    source: "X509-SVID section 2: validators must reject more",
    check: (c) => (x.uriNames(c).length === 1 ? null : `${x.uriNames(c).length} URI names`),
  },
  {
    name: "names the identity that was asked for",
    source: "X509-SVID section 2",
    check: (c, e) => (x.uriNames(c)[0] === e.uri ? null : "another URI"),
  },
  {
    name: "has a valid SPIFFE id: with a path for a leaf, without one for an authority",
    source: "SPIFFE-ID section 2; X509-SVID sections 3.1 and 3.2",
    check: (c, e) => {
      const uri = x.uriNames(c)[0] ?? "";
      const valid = e.profile.ca
        ? parseSpiffeId(`${uri}/x`) !== null && !uri.slice("spiffe://".length).includes("/")
        : parseSpiffeId(uri) !== null;
      return valid ? null : `not a SPIFFE id for this profile: ${JSON.stringify(uri)}`;
    },
  },
  {
    name: "marks its names as critical exactly when it has no subject",
    source: "RFC 5280 section 4.2.1.6",
    check: (c) => (x.extension(c, x.OID.subjectAltName)?.critical === isEmptyName(c.subject) ? null : "subjectAltName critical"),
  },
  {
    name: "has no names besides the URI but the DNS names that were asked for, and those only if the profile allows any",
    source: "house profile: no names from the caller",
    check: (c, e) => {
      const others = x.subjectAltNames(c).filter((n) => n.kind !== "uri");
      const wanted = e.profile.dnsNames ? e.dnsNames : [];
      const same = others.length === wanted.length && others.every((n, i) => n.kind === "dns" && n.text === wanted[i]);
      return same ? null : "other names";
    },
  },
  {
    name: "says critically whether it is an authority, and how long a path may be",
    source: "X509-SVID section 4.1; RFC 5280 section 4.2.1.9",
    check: (c, e) => {
      const said = x.basicConstraints(c);
      const right =
        said !== null &&
        said.ca === e.profile.ca &&
        said.pathLength === e.profile.pathLength &&
        x.extension(c, x.OID.basicConstraints)?.critical === true;
      return right ? null : "basicConstraints";
    },
  },
  {
    name: "has a critical key usage with exactly the bits of its profile",
    source: "X509-SVID section 4.3: a leaf must set digitalSignature and neither keyCertSign nor cRLSign",
    check: (c, e) => (sameSet(x.keyUsage(c), e.profile.keyUsage) && x.extension(c, x.OID.keyUsage)?.critical === true ? null : "keyUsage"),
  },
  {
    name: "has exactly the extended key usages of its profile: both serverAuth and clientAuth on a leaf",
    source: "X509-SVID section 4.4",
    check: (c, e) => (sameSet(x.extendedKeyUsage(c) ?? [], e.profile.extendedKeyUsage) ? null : "extendedKeyUsage"),
  },
  {
    name: "has a subject key identifier that is not critical",
    source: "RFC 5280 section 4.2.1.2; OpenSSL -x509_strict",
    check: (c) => {
      const id = x.subjectKeyId(c);
      return id !== null && id.length === 20 && x.extension(c, x.OID.subjectKeyId)?.critical === false ? null : "subjectKeyIdentifier";
    },
  },
  {
    name: "has the authority key identifier of its issuer, not critical",
    source: "RFC 5280 section 4.2.1.1; OpenSSL -x509_strict",
    check: (c, e) => {
      const id = x.authorityKeyId(c);
      const wanted = x.subjectKeyId(e.chain[0] ?? c);
      const right = id !== null && wanted !== null && equal(id, wanted) && x.extension(c, x.OID.authorityKeyId)?.critical === false;
      return right ? null : "authorityKeyIdentifier";
    },
  },
  {
    name: "has each extension once and none that the profiles do not use",
    source: "RFC 5280 section 4.2: at most one instance",
    check: (c) => {
      const oids = c.extensions.map((e) => e.oid);
      return new Set(oids).size === oids.length && oids.every((oid) => ALLOWED.includes(oid)) ? null : `extensions ${oids.join(" ")}`;
    },
  },
];

/** Every rule that the encoded certificate breaks, as "name: what was found". Empty: it may be signed. */
export function lint(der: Uint8Array, expected: Expected): string[] {
  try {
    return lintParsed(x.parseCertificate(der), expected);
  } catch (error) {
    return [`is DER: ${(error as Error).message}`];
  }
}

/** The same for a certificate that was parsed from its encoding. */
export function lintParsed(certificate: x.Certificate, expected: Expected): string[] {
  const broken: string[] = [];
  for (const rule of LINT_RULES) {
    let found: string | null;
    try {
      found = rule.check(certificate, expected);
    } catch (error) {
      found = (error as Error).message;
    }
    if (found !== null) broken.push(`${rule.name}: ${found}`);
  }
  return broken;
}

function isEmptyName(name: Uint8Array): boolean {
  return name.length === 2;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function sameSet<T>(found: readonly T[] | null, wanted: readonly T[]): boolean {
  return found !== null && found.length === wanted.length && wanted.every((w) => found.includes(w));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
