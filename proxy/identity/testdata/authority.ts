import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { SystemClock } from "#runtime/clock.ts";

type CryptoKey = webcrypto.CryptoKey;
type CryptoKeyPair = webcrypto.CryptoKeyPair;

/** A certificate with its key, as a test wants it. */
export interface Issued {
  readonly der: Uint8Array;
  readonly pem: string;
  readonly keyPem: string;
}

export interface LeafRequest {
  /** URI SANs. */
  readonly uris?: readonly string[];
  readonly dns?: readonly string[];
  /** Whole subjectAltName, DER; instead of uris and dns. */
  readonly sanDer?: Uint8Array;
  readonly subject?: string;
  readonly isCa?: boolean;
  /** Null: no such extension. */
  readonly keyUsage?: number | null;
  /** Null: no such extension. */
  readonly extendedKeyUsage?: readonly string[] | null;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Public key of the leaf, SPKI; its own otherwise. */
  readonly spki?: Uint8Array;
}

export interface Authority {
  readonly rootPem: string;
  readonly rootDer: Uint8Array;
  issue(request: LeafRequest): Promise<Issued>;
}

export const KEY_USAGE = x509.KeyUsageFlags;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR_MS = 3_600_000;
const BOTH = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];

/** A CA of its own with one root: an independent maker of certificates, not Weft's. */
export async function makeAuthority(name = "CN=root"): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto as Crypto);
  const keys = await makeKeys();
  const now = new SystemClock().wallMs();
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(now - HOUR_MS),
    notAfter: new Date(now + 24 * HOUR_MS),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    rootPem: `${root.toString("pem")}\n`,
    rootDer: new Uint8Array(root.rawData),
    issue: (request) => issue(request, root, keys.privateKey),
  };
}

async function issue(request: LeafRequest, root: x509.X509Certificate, signingKey: CryptoKey): Promise<Issued> {
  const own = await makeKeys();
  const publicKey = request.spki === undefined ? own.publicKey : await webcrypto.subtle.importKey("spki", Uint8Array.from(request.spki), ALGORITHM, true, ["verify"]);
  const now = new SystemClock().wallMs();
  const keyUsage = request.keyUsage === undefined ? KEY_USAGE.digitalSignature : request.keyUsage;
  const purposes = request.extendedKeyUsage === undefined ? BOTH : request.extendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.create({
    subject: request.subject ?? "",
    issuer: root.subject,
    publicKey: publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    notBefore: request.notBefore ?? new Date(now - 300_000),
    notAfter: request.notAfter ?? new Date(now + HOUR_MS),
    extensions: [
      ...names(request),
      ...(request.isCa === undefined ? [] : [new x509.BasicConstraintsExtension(request.isCa, undefined, true)]),
      ...(keyUsage === null ? [] : [new x509.KeyUsagesExtension(keyUsage, true)]),
      ...(purposes === null ? [] : [new x509.ExtendedKeyUsageExtension([...purposes])]),
      await x509.AuthorityKeyIdentifierExtension.create(root),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", own.privateKey));
  return {
    der: new Uint8Array(certificate.rawData),
    pem: `${certificate.toString("pem")}\n`,
    keyPem: `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString("base64").replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`,
  };
}

function names(request: LeafRequest): x509.Extension[] {
  if (request.sanDer !== undefined) return [new x509.Extension("2.5.29.17", true, Uint8Array.from(request.sanDer))];
  const all = [...(request.dns ?? []).map((value) => ({ type: "dns" as const, value })), ...(request.uris ?? []).map((value) => ({ type: "url" as const, value }))];
  return all.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(all, true)];
}

function makeKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as Promise<CryptoKeyPair>;
}

/** subjectAltName of given GeneralNames: tag octet and content, as they are. */
export function sanOf(...entries: readonly (readonly [number, Uint8Array | string])[]): Uint8Array {
  const parts = entries.map(([tag, content]) => tlv(tag, Buffer.from(content)));
  return new Uint8Array(tlv(0x30, Buffer.concat(parts)));
}

function tlv(tag: number, content: Uint8Array): Buffer {
  const length = content.length < 0x80 ? [content.length] : content.length < 0x100 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
}
