import { X509Certificate } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "#api/clock.ts";
import { writeAtomically } from "./atomic-file.ts";
import { type Certificate, parseCertificate, uriNames } from "./certificate.ts";
import { lint } from "./lint.ts";
import { type PrepareRequest, prepare, type Refusal, serialFrom } from "./prepare.ts";
import { BACKDATE_MS, ISSUER, type Profile, ROOT, SERIAL_BYTES } from "./profiles.ts";
import { IssuerKey } from "./sign.ts";
import { type KeyPair, KeyStore, type PairName, pem, restore, StateError } from "./store.ts";

export interface AuthorityOptions {
  /** Folder of this operator's state: keys in `ca/` (0700), the public roots in `bundle.pem`. */
  readonly stateDir: string;
  readonly trustDomain: string;
  readonly rootTtlMs: number;
  readonly issuerTtlMs: number;
  readonly clock: Clock;
  /** Cryptographically secure. */
  readonly randomBytes: (n: number) => Uint8Array;
}

export interface LeafRequest {
  readonly profile: Profile;
  readonly publicKey: Uint8Array;
  readonly uri: string;
  readonly dnsNames?: readonly string[];
  readonly ttlMs: number;
}

export interface Issued {
  /** DER, leaf first, without the root. */
  readonly chain: readonly Uint8Array[];
  readonly uri: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * The mesh's CA: a root that signs issuers, an issuer that signs leaves, both kept across restarts. `open` and `issue`
 * are promises although all is local now: a CA of the user's own may not be.
 */
export class Authority {
  readonly trustDomain: string;
  /** Lifetime of the next issuer; the current one keeps its own. */
  issuerTtlMs: number;
  readonly #options: AuthorityOptions;
  readonly #store: KeyStore;
  readonly #root: KeyPair;
  #issuer: KeyPair;

  private constructor(options: AuthorityOptions, store: KeyStore, root: KeyPair, issuer: KeyPair) {
    this.trustDomain = options.trustDomain;
    this.issuerTtlMs = options.issuerTtlMs;
    this.#options = options;
    this.#store = store;
    this.#root = root;
    this.#issuer = issuer;
  }

  /**
   * Loads the CA of the state folder, or makes one where there is none. Rejects with StateError when a file
   * is broken or of another CA: a CA that is quietly replaced cuts every proxy off.
   */
  static async open(options: AuthorityOptions): Promise<Authority> {
    mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
    const store = new KeyStore(join(options.stateDir, "ca"));
    let root = store.load("root");
    let issuer = store.load("issuer");
    if (root === null && issuer !== null)
      throw new StateError(store.path("root"), "it is missing although issuer.pem is there", restore("root"));
    if (root === null) {
      root = makePair(options, "root", null, options.rootTtlMs);
      store.save("root", root);
    }
    checkLoaded(store, "root", root, [], options);
    if (root.certificate.notAfterMs <= options.clock.wallMs()) {
      throw new StateError(
        store.path("root"),
        `the root expired at ${new Date(root.certificate.notAfterMs).toISOString()}`,
        restore("root"),
      );
    }
    if (issuer === null) {
      issuer = makePair(options, "issuer", root, options.issuerTtlMs);
      store.save("issuer", issuer);
    }
    checkLoaded(store, "issuer", issuer, [root.certificate], options);
    writeAtomically(join(options.stateDir, "bundle.pem"), pem("CERTIFICATE", root.certificate.der), 0o644);
    const authority = new Authority(options, store, root, issuer);
    authority.renewIfDue();
    return authority;
  }

  /** DER. */
  roots(): Uint8Array[] {
    return [this.#root.certificate.der];
  }

  get rootNotAfterMs(): number {
    return this.#root.certificate.notAfterMs;
  }

  get issuerNotAfterMs(): number {
    return this.#issuer.certificate.notAfterMs;
  }

  /** A leaf under the current issuer. Refusals name the caller's fault or ours. */
  async issue(request: LeafRequest): Promise<Issued | Refusal> {
    try {
      this.renewIfDue();
    } catch {
      // A full disk is no reason not to serve: the current issuer is good. Whoever renews by the clock logs why.
    }
    const issuer = this.#issuer;
    const prepared = prepare({
      ...request,
      chain: [issuer.certificate, this.#root.certificate],
      nowMs: this.#options.clock.wallMs(),
      serial: serialFrom(this.#options.randomBytes(SERIAL_BYTES)),
    });
    if ("refused" in prepared) return prepared;
    const leaf = issuer.key.sign(prepared);
    return { chain: [leaf, issuer.certificate.der], uri: prepared.uri, notBeforeMs: prepared.notBeforeMs, notAfterMs: prepared.notAfterMs };
  }

  /**
   * Makes a new issuer under the same root once half of the current one's life is over. Nobody needs to be
   * told: issuers travel with the leaves they signed. Throws when the disk does; the current issuer then goes on.
   */
  renewIfDue(): void {
    if (!this.#isDue()) return;
    const issuer = makePair(this.#options, "issuer", this.#root, this.issuerTtlMs);
    this.#store.save("issuer", issuer);
    this.#issuer = issuer;
  }

  #isDue(): boolean {
    const { notBeforeMs, notAfterMs } = this.#issuer.certificate;
    // Near the root's end a new issuer could not live longer than this one.
    return this.#options.clock.wallMs() >= (notBeforeMs + notAfterMs) / 2 && notAfterMs < this.#root.certificate.notAfterMs;
  }
}

/** The URI of root and issuer, X509-SVID section 3.2: no path. */
function authorityUri(trustDomain: string): string {
  return `spiffe://${trustDomain}`;
}

function makePair(options: AuthorityOptions, name: PairName, above: KeyPair | null, ttlMs: number): KeyPair {
  const key = IssuerKey.generate();
  const serial = serialFrom(options.randomBytes(SERIAL_BYTES));
  const request: PrepareRequest = {
    profile: name === "root" ? ROOT : ISSUER,
    publicKey: key.publicKey(),
    uri: authorityUri(options.trustDomain),
    // Distinct from every other CA's: chains are built by name first.
    commonName: `Weft ${name} ${Buffer.from(serial.subarray(0, 8)).toString("hex")}`,
    chain: above === null ? [] : [above.certificate],
    nowMs: options.clock.wallMs(),
    ttlMs,
    serial,
  };
  const prepared = prepare(request);
  if ("refused" in prepared) throw new Error(`the ${name} cannot be made: ${prepared.refused}`);
  return { key, certificate: parseCertificate((above?.key ?? key).sign(prepared)) };
}

function checkLoaded(store: KeyStore, name: PairName, pair: KeyPair, chain: readonly Certificate[], options: AuthorityOptions): void {
  const path = store.path(name);
  const { certificate } = pair;
  const uri = authorityUri(options.trustDomain);
  const found = uriNames(certificate)[0];
  if (found !== uri) {
    throw new StateError(
      path,
      `it is a CA for ${found ?? "no trust domain"}, not for ${uri}`,
      `Set trustDomain back (it is immutable), or use another state folder`,
    );
  }
  const above = chain[0] ?? certificate;
  if (!new X509Certificate(certificate.der).verify(new X509Certificate(above.der).publicKey)) {
    throw new StateError(
      path,
      name === "root" ? "it is not signed by its own key" : "it is not signed by the root in root.pem",
      restore(name),
    );
  }
  // The rules on time are about the moment of making.
  const madeAtMs = certificate.notBeforeMs + BACKDATE_MS;
  const broken = lint(certificate.der, { profile: name === "root" ? ROOT : ISSUER, uri, dnsNames: [], nowMs: madeAtMs, chain });
  if (broken.length > 0) throw new StateError(path, `its certificate is not one of ours (${broken.join("; ")})`, restore(name));
}
