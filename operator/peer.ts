import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { parseSpiffeId, type SpiffeId } from "#api/spiffe.ts";
import { basicConstraints, keyUsage, parseCertificate, uriNames } from "#ca/certificate.ts";
import { KEY_USAGE } from "#ca/profiles.ts";

/** Who is at the other end of a connection, by its SVID. */
export interface Peer {
  readonly id: SpiffeId;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export type PeerResult = Peer | { readonly refused: string };

/** The peer of a TLS connection whose chain Node has verified against our roots. Refused: why it is nobody. */
export function peerOf(socket: TLSSocket, trustDomain: string): PeerResult {
  const leaf = socket.getPeerCertificate(false);
  if (leaf === null || leaf.raw === undefined) return { refused: "no client certificate was sent" };
  if (!socket.authorized)
    return { refused: `the client certificate is not valid here (${String(socket.authorizationError ?? "not verified")})` };
  return peerOfLeaf(leaf.raw, trustDomain);
}

/** X509-SVID section 5.2 on a leaf whose chain holds: one URI, a workload's id of our trust domain, no authority. */
export function peerOfLeaf(der: Uint8Array, trustDomain: string): PeerResult {
  try {
    const certificate = parseCertificate(der);
    const uris = uriNames(certificate);
    if (uris.length !== 1) return { refused: `an SVID has one URI name, this has ${uris.length}` };
    if (basicConstraints(certificate)?.ca === true || new X509Certificate(der).ca)
      return { refused: "a CA's certificate is no workload's" };
    const usage = keyUsage(certificate);
    if (usage === null || usage.includes(KEY_USAGE.keyCertSign) || usage.includes(KEY_USAGE.cRLSign))
      return { refused: "key usage is not a leaf's" };
    const id = parseSpiffeId(uris[0] ?? "");
    if (id === null || id.trustDomain !== trustDomain) return { refused: "not an SVID of this trust domain" };
    const [ns, namespace, sa, serviceAccount, ...rest] = id.path;
    if (ns !== "ns" || sa !== "sa" || namespace === undefined || serviceAccount === undefined || rest.length > 0) {
      return { refused: "not a workload's SPIFFE id" };
    }
    return { id: id.id, namespace, serviceAccount };
  } catch {
    return { refused: "the client certificate cannot be read" };
  }
}
