import type { ErrorCode } from "#api/errors.ts";
import { parseSpiffeId, type SpiffeId, workloadId } from "#api/spiffe.ts";
import type { Attested, Attestor } from "#api/store.ts";
import { proofHolds, readPublicKey } from "./key.ts";

/** Bytes of a token; a projected service-account token has about 1 KiB. */
export const TOKEN_BYTES_MAX = 16 * 1024;

export interface Claim {
  readonly publicKey: Uint8Array;
  readonly token: string;
  readonly proof: Uint8Array;
}

export type Verdict =
  | { readonly outcome: "attested"; readonly identity: SpiffeId; readonly attested: Attested }
  /** `malformed`: the caller could not have meant it (INVALID_ARGUMENT). */
  | { readonly outcome: "refused"; readonly code: ErrorCode; readonly detail: string; readonly malformed: boolean };

/**
 * Who the holder of this key and token is. The names come from the attestor alone. Cheap checks stand before
 * dear ones: sizes, the key, the proof, and only then the attestor. Rejects when the attestor cannot answer.
 */
export async function attest(claim: Claim, attestor: Attestor, trustDomain: string): Promise<Verdict> {
  if (claim.token === "" || Buffer.byteLength(claim.token, "utf8") > TOKEN_BYTES_MAX) {
    return { outcome: "refused", code: "WEFT_TOKEN_REFUSED", detail: `a token has 1 to ${TOKEN_BYTES_MAX} bytes`, malformed: true };
  }
  const key = readPublicKey(claim.publicKey);
  if ("refused" in key) return { outcome: "refused", code: "WEFT_KEY_REFUSED", detail: key.refused, malformed: true };
  if (!proofHolds(key.key, claim.token, claim.proof)) {
    return {
      outcome: "refused",
      code: "WEFT_KEY_REFUSED",
      detail: "the proof is not a signature by this key over this token's hash",
      malformed: false,
    };
  }
  const attested = await attestor.attest(claim.token);
  if (attested === null)
    return { outcome: "refused", code: "WEFT_TOKEN_REFUSED", detail: "the token proves no workload", malformed: false };
  const identity = parseSpiffeId(workloadId(trustDomain, attested.namespace, attested.serviceAccount));
  // A name with a slash would move into another's namespace.
  if (identity === null || identity.path.length !== 4) {
    return { outcome: "refused", code: "WEFT_TOKEN_REFUSED", detail: "the token's names make no SPIFFE id", malformed: false };
  }
  return { outcome: "attested", identity: identity.id, attested };
}
