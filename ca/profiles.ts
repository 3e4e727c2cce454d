/** Key usage bits that our profiles use, RFC 5280 section 4.2.1.3 (bit numbers). */
export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const;

export const EKU = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/**
 * NotBefore lies this much before now, for peers whose clocks are behind. Five minutes is what
 * Kubernetes' own signer uses; NotAfter is exact, because a longer life helps only a thief.
 */
export const BACKDATE_MS = 5 * MINUTE_MS;

/** CA/Browser Forum asks for at least 64 random bits; ours has 126. RFC 5280 section 4.1.2.2 allows at most 20 octets. */
export const SERIAL_BYTES = 16;

/** What one kind of certificate looks like. */
export interface Profile {
  readonly name: "root" | "issuer" | "workload" | "operator";
  /** basicConstraints cA. */
  readonly ca: boolean;
  /** Most intermediates below; null: not stated. */
  readonly pathLength: number | null;
  /** Bit numbers of KEY_USAGE: exactly these. */
  readonly keyUsage: readonly number[];
  /** Exactly these; none: the extension is absent. */
  readonly extendedKeyUsage: readonly string[];
  /** Whether DNS names may stand beside the one URI. */
  readonly dnsNames: boolean;
  /** Bounds of the lifetime that may be asked for, from now to NotAfter. */
  readonly ttlMsMin: number;
  readonly ttlMsMax: number;
}

const LEAF = {
  ca: false,
  pathLength: null,
  // X509-SVID section 4.3: digitalSignature must be set. Nothing else: an EC key under TLS 1.3 only signs.
  keyUsage: [KEY_USAGE.digitalSignature],
  // X509-SVID section 4.4: if present, both.
  extendedKeyUsage: [EKU.serverAuth, EKU.clientAuth],
  // 60 s is what the rotation demo uses; 7 days is the longest that MeshIdentity accepts.
  ttlMsMin: MINUTE_MS,
  ttlMsMax: 7 * DAY_MS,
} as const;

const AUTHORITY = {
  ca: true,
  // X509-SVID section 4.3: keyCertSign must, cRLSign may. We publish no CRL.
  keyUsage: [KEY_USAGE.keyCertSign],
  extendedKeyUsage: [],
  dnsNames: false,
  ttlMsMin: 60 * MINUTE_MS,
} as const;

/** One issuer below it; 10 years as Istio's self-signed root. */
export const ROOT: Profile = { ...AUTHORITY, name: "root", pathLength: 1, ttlMsMax: 3650 * DAY_MS };
/** Signs leaves only; 90 days, renewed at half. */
export const ISSUER: Profile = { ...AUTHORITY, name: "issuer", pathLength: 0, ttlMsMax: 3650 * DAY_MS };
export const WORKLOAD: Profile = { ...LEAF, name: "workload", dnsNames: false };
/** The operator's own server certificate: a workload with a DNS name, for clients that check one. */
export const OPERATOR_SERVER: Profile = { ...LEAF, name: "operator", dnsNames: true };

export const DEFAULT_ROOT_TTL_MS = 3650 * DAY_MS;
export const DEFAULT_ISSUER_TTL_MS = 90 * DAY_MS;
export const DEFAULT_LEAF_TTL_MS = DAY_MS;
