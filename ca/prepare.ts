// @peculiar/x509 resolves its parts by decorator metadata and throws on import without this.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { type Certificate, parseCertificate, subjectKeyId } from "./certificate.ts";
import { readPublicKey } from "./key.ts";
import { type Expected, lint } from "./lint.ts";
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
  /** The bytes to sign: exactly those that were linted. */
  readonly tbs: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface Refusal {
  readonly refused: string;
  /** The caller's key is at fault; otherwise ours or the resource's. */
  readonly keyRefused: boolean;
}

const SIGNATURE = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** What `prepare` made and `sign` has not yet used: nothing else may be signed. */
const unsigned = new WeakSet<Prepared>();

/**
 * Builds the certificate, signs it with a key that is thrown away, and lints those bytes: whatever the
 * builder did wrong is found before the CA's key has touched it (Boulder's linter, same idea).
 */
export async function prepare(request: PrepareRequest): Promise<Prepared | Refusal> {
  const { profile, chain, nowMs } = request;
  const key = readPublicKey(request.publicKey);
  if ("refused" in key) return { refused: key.refused, keyRefused: true };
  if (request.ttlMs < profile.ttlMsMin || request.ttlMs > profile.ttlMsMax) {
    return { refused: `a lifetime of ${request.ttlMs} ms is outside ${profile.ttlMsMin} to ${profile.ttlMsMax} ms`, keyRefused: false };
  }
  const notBeforeMs = wholeSecond(Math.max(nowMs - BACKDATE_MS, ...chain.map((c) => c.notBeforeMs)));
  const notAfterMs = wholeSecond(Math.min(nowMs + request.ttlMs, ...chain.map((c) => c.notAfterMs)));
  const der = await build(request, notBeforeMs, notAfterMs);
  const expected: Expected = { profile, uri: request.uri, dnsNames: request.dnsNames ?? [], nowMs, chain };
  const broken = lint(der, expected);
  if (broken.length > 0) return { refused: broken.join("; "), keyRefused: false };
  const prepared: Prepared = { profile, uri: request.uri, tbs: parseCertificate(der).tbs, notBeforeMs, notAfterMs };
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

async function build(request: PrepareRequest, notBeforeMs: number, notAfterMs: number): Promise<Uint8Array> {
  const throwaway = await crypto.subtle.generateKey(SIGNATURE, false, ["sign", "verify"]);
  const subjectKey = new x509.PublicKey(copy(request.publicKey));
  const issuer = request.chain[0];
  const subject = request.commonName === undefined ? undefined : new x509.Name([{ CN: [request.commonName] }]);
  const issuerName = issuer === undefined ? subject : new x509.Name(copy(issuer.subject));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: Buffer.from(request.serial).toString("hex"),
    ...(subject === undefined ? {} : { subject }),
    ...(issuerName === undefined ? {} : { issuer: issuerName }),
    notBefore: new Date(notBeforeMs),
    notAfter: new Date(notAfterMs),
    publicKey: subjectKey,
    signingKey: throwaway.privateKey,
    signingAlgorithm: SIGNATURE,
    extensions: await extensions(request, subjectKey),
  });
  return new Uint8Array(certificate.rawData);
}

async function extensions(request: PrepareRequest, subjectKey: x509.PublicKey): Promise<x509.Extension[]> {
  const { profile } = request;
  const issuer = request.chain[0];
  const issuerKeyId = issuer === undefined ? null : subjectKeyId(issuer);
  const names: x509.JsonGeneralNames = [{ type: "url", value: request.uri }];
  for (const value of request.dnsNames ?? []) names.push({ type: "dns", value });
  const usage = profile.keyUsage.reduce((flags, bit) => flags | (1 << bit), 0);
  return [
    new x509.BasicConstraintsExtension(profile.ca, profile.pathLength ?? undefined, true),
    new x509.KeyUsagesExtension(usage, true),
    ...(profile.extendedKeyUsage.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...profile.extendedKeyUsage], false)]),
    // RFC 5280 section 4.2.1.6: critical when the subject is empty.
    new x509.SubjectAlternativeNameExtension(names, request.commonName === undefined),
    await x509.SubjectKeyIdentifierExtension.create(subjectKey, false),
    issuerKeyId === null
      ? await x509.AuthorityKeyIdentifierExtension.create(subjectKey, false)
      : new x509.AuthorityKeyIdentifierExtension(Buffer.from(issuerKeyId).toString("hex"), false),
  ];
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

/** The library wants a buffer that is not shared with others. */
function copy(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}
