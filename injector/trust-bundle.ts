import { X509Certificate } from "node:crypto";
import type { Clock } from "#api/clock.ts";
import type { Logger } from "#runtime/logger.ts";

/** A new root is distributed long before anything is signed with it. */
const LOOK_MS = 5_000;
/** Two roots in a rotation, three at the very most; the value is copied into every pod. */
const BYTES_MAX = 16 * 1024;
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text and nothing else of it; a text when there is none, or one cannot be read. */
export function readBundle(pem: string): { readonly pem: string } | { readonly problem: string } {
  if (pem.length > BYTES_MAX) return { problem: `larger than ${BYTES_MAX} bytes` };
  const blocks = pem.match(BLOCK) ?? [];
  if (blocks.length === 0) return { problem: "holds no certificate in PEM" };
  try {
    for (const block of blocks) if (!new X509Certificate(block).ca) return { problem: "holds a certificate that is no CA's" };
  } catch (error) {
    return { problem: `holds a certificate that cannot be read: ${(error as Error).message}` };
  }
  return { pem: `${blocks.join("\n")}\n` };
}

export interface TrustBundleOptions {
  /** For people: "/etc/weft/bundle.pem", "ConfigMap weft-system/weft-trust-bundle". */
  readonly where: string;
  /** The PEM text as it is now; rejects when it cannot be had. */
  readonly read: () => Promise<string>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The trust bundle as the operator publishes it, read again as it changes; what was good last stays. */
export class TrustBundle {
  readonly #options: TrustBundleOptions;
  #pem: string | null = null;
  #problem = "not looked at yet";
  #cancel: () => void = () => {};
  #closed = false;

  constructor(options: TrustBundleOptions) {
    this.#options = options;
  }

  /** Resolves after the first look, whatever it found. */
  async start(): Promise<void> {
    await this.#look();
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  /** Null until there is one. */
  get pem(): string | null {
    return this.#pem;
  }

  /** Why there is none; null when there is one. */
  notReady(): string | null {
    return this.#pem === null ? `no trust bundle: ${this.#options.where}: ${this.#problem}` : null;
  }

  async #look(): Promise<void> {
    const { where, read, clock, logger } = this.#options;
    const found = await read().then(readBundle, (error: Error) => ({ problem: error.message }));
    if (this.#closed) return;
    if ("problem" in found) {
      if (found.problem !== this.#problem)
        logger.warn("no usable trust bundle", { code: "WEFT_INJECTOR_NOT_READY", where, why: found.problem });
      this.#problem = found.problem;
    } else {
      if (found.pem !== this.#pem) logger.info("trust bundle read", { where });
      this.#pem = found.pem;
      this.#problem = "";
    }
    this.#cancel = clock.after(LOOK_MS, () => void this.#look());
  }
}
