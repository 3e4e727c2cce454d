import { X509Certificate } from "node:crypto";
import type { ConnectionOptions } from "node:tls";
import { meshServerName, OPERATOR } from "#api/ports.ts";
import { workloadId } from "#api/spiffe.ts";
import { judgeSvid } from "./san.ts";

/**
 * Key exchange groups of every TLS endpoint of Weft, in order of preference. P-256 first: OpenSSL is faster at it
 * (1.40 against 1.53 ms for both sides of a handshake), and the certificates rest on it anyway.
 */
export const ECDH_CURVES = "P-256:X25519";

/** The server proved to be somebody else than the operator. */
export class NotTheOperatorError extends Error {}

/** The trust bundle has no certificate that can be read. */
export class NoBundleError extends Error {}

export interface OperatorTlsOptions {
  readonly trustDomain: string;
  /** PEM roots of which one must have issued the operator's SVID. */
  readonly rootsPem: string;
  /** Our own SVID; absent where a token proves who we are. */
  readonly keyPem?: string;
  readonly chainPem?: string;
}

/**
 * TLS options for a connection to the operator: TLS 1.3 only, its chain verified against the roots, and its
 * certificate must be the SVID of the operator itself. Any workload holds a certificate of the same CA, so
 * without the second check any of them could play operator. Throws NoBundleError.
 */
export function operatorTls(options: OperatorTlsOptions): ConnectionOptions {
  // Node takes an empty `ca` for "the public CAs" and passes over what it cannot read.
  if (!isCertificate(options.rootsPem)) throw new NoBundleError("the trust bundle has no readable certificate");
  const operator = workloadId(options.trustDomain, OPERATOR.namespace, OPERATOR.serviceAccount);
  return {
    ca: options.rootsPem,
    ...(options.keyPem !== undefined && options.chainPem !== undefined ? { key: options.keyPem, cert: options.chainPem } : {}),
    minVersion: "TLSv1.3",
    ecdhCurve: ECDH_CURVES,
    rejectUnauthorized: true,
    servername: meshServerName(options.trustDomain),
    // Called after OpenSSL has verified the chain. Host names mean nothing here: the id is the name.
    checkServerIdentity: (_host, certificate) => {
      const judged = judgeSvid(certificate.raw);
      if ("refused" in judged) return new NotTheOperatorError(`the server has no SVID: ${judged.refused}`);
      return judged.id === operator ? undefined : new NotTheOperatorError(`the server is ${judged.id}, not ${operator}`);
    },
  };
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}
