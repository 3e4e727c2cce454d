import { createHash, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";
import type { Clock } from "#api/clock.ts";
import type { SpiffeId } from "#api/spiffe.ts";
import { certificates, type FetchedIdentity, holdsKey } from "./client.ts";
import { ECDH_CURVES } from "./operator-tls.ts";
import type { Renewed } from "./rotation.ts";
import { judgeSvid } from "./san.ts";
import { readStateFile, writeStateFileSync } from "./state-file.ts";

/** Who this proxy is, as one immutable version. Connections are pooled per version; old ones may end in peace. */
export interface LocalIdentity {
  /** Grows by one with each new SVID or bundle, from 1. Means something in this process only. */
  readonly version: number;
  readonly spiffeId: SpiffeId;
  readonly trustDomain: string;
  readonly keyPem: string;
  /** Leaf first, PEM, joined. */
  readonly chainPem: string;
  /** The trust bundle, PEM, joined. */
  readonly rootsPem: string;
  /** Hash of the trust bundle, whatever its order: differs when a peer's certificate must be judged anew. */
  readonly bundleVersion: string;
  readonly notAfterMs: number;
  /** For `tls.createServer`, `setSecureContext` and `http2.connect`. */
  readonly tlsOptions: { readonly key: string; readonly cert: string; readonly ca: string };
  /** For `tls.connect`: TLS 1.3 only. Made once a version, it costs a millisecond. */
  readonly clientContext: SecureContext;
}

export interface IdentityStoreOptions {
  /** Folder, owner-only, that outlives the process. */
  readonly stateDir: string;
  /** Whose SVID this may hold: any other is refused. */
  readonly spiffeId: SpiffeId;
  readonly trustDomain: string;
  readonly clock: Clock;
  /** The state could not be written; the identity is in force all the same. */
  readonly onWriteFailed?: (error: unknown) => void;
}

const FILE = "identity.json";
const FILE_BYTES_MAX = 1024 * 1024;

/**
 * Holds the SVID and the trust bundle in use, tells of each change, and keeps both in one file of mode 0600, so that a
 * restarted sidecar serves at once with the operator gone. One file, because a key with another's
 * certificate is worse than none.
 *
 * Of the bundle, the trust document of the discovery stream has the last word; until one was received in this process, the roots
 * that came with the newest SVID are it.
 */
export class IdentityStore {
  private readonly options: IdentityStoreOptions;
  private readonly listeners = new Set<(identity: LocalIdentity) => void>();
  private held: FetchedIdentity | null = null;
  private local: LocalIdentity | null = null;
  private trustedRoots: readonly string[] | null = null;

  constructor(options: IdentityStoreOptions) {
    this.options = options;
  }

  current(): LocalIdentity | null {
    return this.local;
  }

  /** Calls `f` after each change, not for what is held now. The returned function ends it. */
  onChange(f: (identity: LocalIdentity) => void): () => void {
    this.listeners.add(f);
    return () => this.listeners.delete(f);
  }

  /** Lifetime of the SVID held, for `Rotation.start`; null when there is none. */
  lifetime(): Renewed {
    const held = this.held;
    return held === null ? null : { issuedAtMs: held.issuedAtMs, notAfterMs: held.notAfterMs, renewAfterPercent: held.renewAfterPercent };
  }

  /** Takes up what the state folder holds, if it is whole, ours and not expired. True when it was taken. */
  load(): boolean {
    const content = readStateFile(join(this.options.stateDir, FILE), FILE_BYTES_MAX);
    const stored = content === null ? null : parseStored(content.toString("utf8"));
    if (stored === null || this.refusal(stored) !== null || stored.notAfterMs <= this.options.clock.wallMs()) return false;
    return this.adopt(stored, stored.rootsPem);
  }

  /** Puts a fetched SVID in force and on disk. The reason when it is not ours: then nothing changes. */
  setIdentity(fetched: FetchedIdentity): { readonly refused: string } | null {
    const refused = this.refusal(fetched);
    if (refused !== null) return { refused };
    if (!this.adopt(fetched, this.trustedRoots ?? fetched.rootsPem)) return { refused: "OpenSSL does not take key and certificates" };
    this.write();
    return null;
  }

  /** Puts the trust bundle of a trust document in force. False when a root is unreadable or there is none: then nothing changes. */
  setRoots(roots: readonly Uint8Array[]): boolean {
    const parsed = certificates(roots);
    if (parsed === null || parsed.length === 0) return false;
    this.trustedRoots = parsed.map((c) => c.toString());
    if (this.held === null || this.local === null) return true;
    if (bundleVersionOf(this.trustedRoots) === this.local.bundleVersion) return true;
    if (!this.adopt(this.held, this.trustedRoots)) return false;
    this.write();
    return true;
  }

  private refusal(identity: FetchedIdentity): string | null {
    const chain = readPem(identity.chainPem);
    const roots = readPem(identity.rootsPem);
    const leaf = chain?.[0];
    if (chain === null || leaf === undefined || roots === null || roots.length === 0) return "a certificate is missing or unreadable";
    const judged = judgeSvid(leaf.raw);
    if ("refused" in judged) return judged.refused;
    if (judged.id !== this.options.spiffeId) return `the SVID is of ${judged.id}, this workload is ${this.options.spiffeId}`;
    if (leaf.validToDate.getTime() !== identity.notAfterMs) return "the times do not belong to the certificate";
    return holdsKey(identity.keyPem, leaf) ? null : "the key does not belong to the certificate";
  }

  private adopt(identity: FetchedIdentity, roots: readonly string[]): boolean {
    const tlsOptions = { key: identity.keyPem, cert: identity.chainPem.join(""), ca: roots.join("") };
    let clientContext: SecureContext;
    try {
      clientContext = createSecureContext({ ...tlsOptions, minVersion: "TLSv1.3", ecdhCurve: ECDH_CURVES });
    } catch {
      return false;
    }
    this.held = { ...identity, rootsPem: roots };
    this.local = Object.freeze({
      version: (this.local?.version ?? 0) + 1,
      spiffeId: identity.spiffeId,
      trustDomain: identity.trustDomain,
      keyPem: tlsOptions.key,
      chainPem: tlsOptions.cert,
      rootsPem: tlsOptions.ca,
      bundleVersion: bundleVersionOf(roots),
      notAfterMs: identity.notAfterMs,
      tlsOptions,
      clientContext,
    });
    for (const f of [...this.listeners]) f(this.local);
    return true;
  }

  private write(): void {
    try {
      writeStateFileSync(join(this.options.stateDir, FILE), [Buffer.from(JSON.stringify(this.held))]);
    } catch (error) {
      this.options.onWriteFailed?.(error);
    }
  }
}

function bundleVersionOf(roots: readonly string[]): string {
  const hash = createHash("sha256");
  for (const root of [...new Set(roots)].sort()) hash.update(root);
  return hash.digest("hex").slice(0, 16);
}

function readPem(pems: readonly string[]): X509Certificate[] | null {
  try {
    return pems.map((pem) => new X509Certificate(pem));
  } catch {
    return null;
  }
}

/** The file's content when it has the right shape; whether it makes sense is `refusal`'s question. */
function parseStored(text: string): FetchedIdentity | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const v = value as Record<string, unknown>;
  const strings = (x: unknown): x is string[] => Array.isArray(x) && x.every((s) => typeof s === "string");
  const texts = [v["keyPem"], v["spiffeId"], v["trustDomain"]].every((x) => typeof x === "string");
  const numbers = [v["notBeforeMs"], v["notAfterMs"], v["issuedAtMs"], v["renewAfterPercent"]].every(
    (x) => typeof x === "number" && Number.isFinite(x),
  );
  return texts && numbers && strings(v["chainPem"]) && strings(v["rootsPem"]) ? (value as FetchedIdentity) : null;
}
