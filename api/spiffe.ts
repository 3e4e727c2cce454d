/** A SPIFFE id that has been checked: `spiffe://<trust domain>/<path>`, SPIFFE-ID.md. Compare byte for byte. */
export type SpiffeId = string & { readonly __spiffeId: true };

/** Bytes: above 255 bytes of server name Node silently sends no SNI; ours adds "pod.weft." and gateways more (DESIGN section 4). */
export const TRUST_DOMAIN_BYTES_MAX = 100;
/** SPIFFE-ID.md section 2.3. */
export const SPIFFE_ID_BYTES_MAX = 2048;

const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[a-zA-Z0-9._-]+$/;

/** True for `[a-z0-9._-]`, 1 to 100 bytes. */
export function isTrustDomain(text: string): boolean {
  return text.length <= TRUST_DOMAIN_BYTES_MAX && TRUST_DOMAIN.test(text);
}

/** The id, or null when the text is not a valid *workload* id (SPIFFE-ID.md section 2; the root path is refused). */
export function parseSpiffeId(text: string): { id: SpiffeId; trustDomain: string; path: readonly string[] } | null {
  if (text.length > SPIFFE_ID_BYTES_MAX || !text.startsWith("spiffe://")) return null;
  const [trustDomain, ...path] = text.slice("spiffe://".length).split("/");
  if (trustDomain === undefined || !isTrustDomain(trustDomain) || path.length === 0) return null;
  for (const segment of path) if (!SEGMENT.test(segment) || segment === "." || segment === "..") return null;
  return { id: text as SpiffeId, trustDomain, path };
}

/** The identity of a Kubernetes workload. Names must already be valid Kubernetes names. */
export function workloadId(trustDomain: string, namespace: string, serviceAccount: string): SpiffeId {
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}` as SpiffeId;
}
