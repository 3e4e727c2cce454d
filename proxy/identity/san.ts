import { parseSpiffeId, type SpiffeId } from "#api/spiffe.ts";
import { type DerElement, readChildren, readDer, TAG } from "./der.ts";

/** What the X509-SVID rules look at in a certificate (SPIFFE X509-SVID.md sections 2 to 4). */
export interface SvidFacts {
  /** URI entries of the subjectAltName, octet for octet as Latin-1: nothing is decoded or normalised. */
  readonly uris: readonly string[];
  /** basicConstraints cA. False when the extension is absent. */
  readonly isCa: boolean;
  /** Null when the extension is absent. */
  readonly keyUsage: {
    readonly digitalSignature: boolean;
    readonly keyCertSign: boolean;
    readonly crlSign: boolean;
    readonly critical: boolean;
  } | null;
  /** Null when the extension is absent. */
  readonly extendedKeyUsage: { readonly serverAuth: boolean; readonly clientAuth: boolean } | null;
}

export interface Malformed {
  readonly malformed: string;
}

/** Larger certificates are refused: no SVID comes near. */
const CERTIFICATE_BYTES_MAX = 64 * 1024;

/** OIDs as their content octets in hex. */
const OID = {
  keyUsage: "551d0f",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  extendedKeyUsage: "551d25",
  serverAuth: "2b06010505070301",
  clientAuth: "2b06010505070302",
} as const;

/** GeneralName uniformResourceIdentifier [6] IMPLICIT IA5String (RFC 5280 section 4.2.1.6). */
const TAG_URI = 0x86;

interface Extension {
  readonly critical: boolean;
  /** The DER inside the OCTET STRING, exactly one element. */
  readonly value: DerElement;
}

/**
 * Reads the few facts of an X.509 certificate (RFC 5280 section 4.1) that decide whether it is an SVID,
 * straight from its DER. Never throws and touches each octet a bounded number of times. Checks no signature: ask only
 * of a certificate that OpenSSL has verified.
 *
 * Not from Node's `subjectaltname` text, on purpose: that joins names of all types into one string, where a
 * crafted DNS name or an embedded NUL can look like a URI (CVE-2021-44532, CVE-2025-66220).
 */
export function readSvid(der: Uint8Array): SvidFacts | Malformed {
  if (der.length > CERTIFICATE_BYTES_MAX) return { malformed: "larger than 64 KiB" };
  const extensions = readExtensions(der);
  if ("malformed" in extensions) return extensions;
  const uris = readUris(der, extensions.get(OID.subjectAltName));
  if (uris === null) return { malformed: "subjectAltName" };
  const isCa = readIsCa(der, extensions.get(OID.basicConstraints));
  if (isCa === null) return { malformed: "basicConstraints" };
  const keyUsage = readKeyUsage(der, extensions.get(OID.keyUsage));
  if (keyUsage === undefined) return { malformed: "keyUsage" };
  const extendedKeyUsage = readExtendedKeyUsage(der, extensions.get(OID.extendedKeyUsage));
  if (extendedKeyUsage === undefined) return { malformed: "extKeyUsage" };
  return { uris, isCa, keyUsage, extendedKeyUsage };
}

/** Why a certificate is not a workload's X509-SVID, or its SPIFFE id. For logs; decisions use `spiffeIdOf`. */
export function judgeSvid(der: Uint8Array): { readonly id: SpiffeId; readonly trustDomain: string } | { readonly refused: string } {
  const facts = readSvid(der);
  if ("malformed" in facts) return { refused: `malformed certificate: ${facts.malformed}` };
  if (facts.uris.length !== 1) return { refused: `${facts.uris.length} URI names, an SVID has exactly one` };
  const id = parseSpiffeId(facts.uris[0]!);
  if (id === null) return { refused: "the URI name is not a workload's SPIFFE id" };
  if (facts.isCa) return { refused: "a CA certificate authenticates nobody" };
  if (facts.keyUsage === null) return { refused: "no keyUsage" };
  if (facts.keyUsage.keyCertSign || facts.keyUsage.crlSign) return { refused: "keyUsage allows signing certificates or CRLs" };
  if (!facts.keyUsage.digitalSignature) return { refused: "keyUsage lacks digitalSignature" };
  const eku = facts.extendedKeyUsage;
  if (eku !== null && !(eku.serverAuth && eku.clientAuth)) return { refused: "extKeyUsage must have both serverAuth and clientAuth" };
  return { id: id.id, trustDomain: id.trustDomain };
}

/**
 * The SPIFFE id of a workload's X509-SVID, or null: exactly one URI SAN which is a valid id with a path, not
 * a CA, may sign neither certificates nor CRLs, has digitalSignature, and both server and client
 * authentication where extKeyUsage is present (X509-SVID.md sections 2, 4, 5.2).
 */
export function spiffeIdOf(der: Uint8Array): SpiffeId | null {
  const judged = judgeSvid(der);
  return "id" in judged ? judged.id : null;
}

/** Extensions by OID. A certificate without any is well-formed and has none. */
function readExtensions(der: Uint8Array): Map<string, Extension> | Malformed {
  const certificate = readDer(der, 0, der.length);
  if (certificate === null || certificate.tag !== TAG.sequence || certificate.end !== der.length)
    return { malformed: "not one DER sequence" };
  const parts = readChildren(der, certificate);
  const tbs = parts?.[0];
  if (parts?.length !== 3 || tbs?.tag !== TAG.sequence || parts[1]!.tag !== TAG.sequence || parts[2]!.tag !== TAG.bitString) {
    return { malformed: "not a Certificate" };
  }
  const fields = readChildren(der, tbs);
  if (fields === null) return { malformed: "tbsCertificate" };
  const tags = fields.map((f) => f.tag);
  // version [0], serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, then optional [1], [2], [3].
  const v3 = [0xa0, TAG.integer, TAG.sequence, TAG.sequence, TAG.sequence, TAG.sequence, TAG.sequence];
  if (tags.length < v3.length || v3.some((tag, i) => tags[i] !== tag)) return { malformed: "not an X.509 v3 certificate" };
  let previous = 0xa0;
  for (const tag of tags.slice(v3.length)) {
    if (![0x81, 0xa1, 0x82, 0xa2, 0xa3].includes(tag) || (tag & 0x1f) <= (previous & 0x1f))
      return { malformed: "unexpected field in tbsCertificate" };
    previous = tag;
  }
  const last = fields.at(-1)!;
  return last.tag === 0xa3 ? readExtensionList(der, last) : new Map();
}

function readExtensionList(der: Uint8Array, wrapper: DerElement): Map<string, Extension> | Malformed {
  const found = new Map<string, Extension>();
  const list = only(readChildren(der, wrapper), TAG.sequence);
  const extensions = list === null ? null : readChildren(der, list);
  if (extensions === null || extensions.length === 0) return { malformed: "extensions" };
  for (const extension of extensions) {
    const parts = extension.tag === TAG.sequence ? readChildren(der, extension) : null;
    if (parts === null || parts.length < 2 || parts.length > 3 || parts[0]!.tag !== TAG.oid) return { malformed: "extension" };
    const critical = parts.length === 3 ? readBoolean(der, parts[1]!) : false;
    const octets = parts.at(-1)!;
    if (critical === null || octets.tag !== TAG.octetString) return { malformed: "extension" };
    const oid = hex(der, parts[0]!);
    // RFC 5280 section 4.2: no extension twice. Which one counts would be the parser's choice.
    if (found.has(oid)) return { malformed: "an extension appears twice" };
    const value = readDer(der, octets.start, octets.end);
    // Only what we read must be DER inside; foreign extensions are anybody's.
    if (value !== null && value.end === octets.end) found.set(oid, { critical, value });
    else if (OURS.has(oid)) return { malformed: "extension value" };
    else found.set(oid, { critical, value: octets });
  }
  return found;
}

const OURS: ReadonlySet<string> = new Set([OID.keyUsage, OID.subjectAltName, OID.basicConstraints, OID.extendedKeyUsage]);

function readUris(der: Uint8Array, san: Extension | undefined): string[] | null {
  if (san === undefined) return [];
  const names = san.value.tag === TAG.sequence ? readChildren(der, san.value) : null;
  if (names === null || names.length === 0) return null;
  const uris: string[] = [];
  for (const name of names) {
    // Every GeneralName is context-specific, [0] to [8].
    if ((name.tag & 0xc0) !== 0x80 || (name.tag & 0x1f) > 8) return null;
    if ((name.tag & 0x1f) !== 6) continue;
    if (name.tag !== TAG_URI) return null;
    uris.push(Buffer.from(der.buffer, der.byteOffset + name.start, name.end - name.start).toString("latin1"));
  }
  return uris;
}

function readIsCa(der: Uint8Array, constraints: Extension | undefined): boolean | null {
  if (constraints === undefined) return false;
  const parts = constraints.value.tag === TAG.sequence ? readChildren(der, constraints.value) : null;
  if (parts === null || parts.length > 2) return null;
  if (parts.length === 0) return false;
  if (parts[0]!.tag === TAG.integer) return parts.length === 1 ? false : null;
  if (parts.length === 2 && parts[1]!.tag !== TAG.integer) return null;
  return readBoolean(der, parts[0]!);
}

function readKeyUsage(der: Uint8Array, usage: Extension | undefined): SvidFacts["keyUsage"] | undefined {
  if (usage === undefined) return null;
  const { tag, start, end } = usage.value;
  const unusedBits = der[start];
  if (tag !== TAG.bitString || end - start < 1 || end - start > 3 || unusedBits === undefined || unusedBits > 7) return undefined;
  // Octets behind the first content octet; bit 0 is the highest (RFC 5280 section 4.2.1.3).
  const bits = end - start >= 2 ? der[start + 1]! : 0;
  return {
    digitalSignature: (bits & 0x80) !== 0,
    keyCertSign: (bits & 0x04) !== 0,
    crlSign: (bits & 0x02) !== 0,
    critical: usage.critical,
  };
}

function readExtendedKeyUsage(der: Uint8Array, usage: Extension | undefined): SvidFacts["extendedKeyUsage"] | undefined {
  if (usage === undefined) return null;
  const purposes = usage.value.tag === TAG.sequence ? readChildren(der, usage.value) : null;
  if (purposes === null || purposes.length === 0 || purposes.some((p) => p.tag !== TAG.oid)) return undefined;
  const oids = new Set(purposes.map((p) => hex(der, p)));
  return { serverAuth: oids.has(OID.serverAuth), clientAuth: oids.has(OID.clientAuth) };
}

/** DER knows 0x00 and 0xFF only. An explicit FALSE is not DER where FALSE is the default, but common and clear. */
function readBoolean(der: Uint8Array, element: DerElement): boolean | null {
  if (element.tag !== TAG.boolean || element.end - element.start !== 1) return null;
  const octet = der[element.start];
  return octet === 0xff ? true : octet === 0 ? false : null;
}

function only(children: DerElement[] | null, tag: number): DerElement | null {
  return children?.length === 1 && children[0]!.tag === tag ? children[0]! : null;
}

function hex(der: Uint8Array, element: DerElement): string {
  return Buffer.from(der.buffer, der.byteOffset + element.start, element.end - element.start).toString("hex");
}
