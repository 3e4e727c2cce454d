import type { TLSSocket } from "node:tls";
import type { SpiffeId } from "#api/spiffe.ts";
import { spiffeIdOf } from "./san.ts";

/** Weak: an entry goes with its socket. A connection keeps its certificate for life (TLS 1.3 has no renegotiation). */
const known = new WeakMap<TLSSocket, SpiffeId | null>();

/**
 * The SPIFFE id of the peer at the other end of a finished handshake, or null: no certificate, one that
 * OpenSSL did not verify against our roots (`authorized`), or one that is no workload's X509-SVID. Cached
 * per socket, so asking per request costs a map look-up. Ask only after `secure` or `secureConnect`.
 *
 * Says who the peer is, not whether it may speak: comparing with the id that the endpoint's document
 * names, or with a policy, is the caller's.
 */
export function peerId(socket: TLSSocket): SpiffeId | null {
  const cached = known.get(socket);
  if (cached !== undefined) return cached;
  const id = socket.authorized ? idOfCertificate(socket) : null;
  known.set(socket, id);
  return id;
}

function idOfCertificate(socket: TLSSocket): SpiffeId | null {
  // Not getPeerCertificate: that renders subject, names and key into text, most of the cost of the whole check.
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? null : spiffeIdOf(certificate.raw);
}
