import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Clock } from "#api/clock.ts";

/** What the webhook serves with. */
export interface ServingCertificate {
  /** Leaf first, then what leads to the root. */
  readonly certPem: string;
  readonly keyPem: string;
  /** Wall milliseconds. */
  readonly notAfterMs: number;
}

/** Where serving certificates come from: files of a mounted Secret, or whoever makes them in this process. */
export interface CertificateSource {
  /** Calls `onCertificate` with the first usable pair and each later one, `onRefused` with why a new one is not taken. */
  start(onCertificate: (certificate: ServingCertificate) => void, onRefused: (why: string) => void): void;
  close(): void;
}

/** Reads a pair; a text when the two do not belong together or are not PEM. */
export function readPair(certPem: string, keyPem: string): ServingCertificate | { readonly problem: string } {
  try {
    const leaf = new X509Certificate(certPem);
    if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) return { problem: "the key does not belong to the certificate" };
    return { certPem, keyPem, notAfterMs: leaf.validToDate.getTime() };
  } catch (error) {
    return { problem: `certificate or key cannot be read: ${(error as Error).message}` };
  }
}

/** A mounted Secret changes within a minute or so; looking costs two small reads. */
const LOOK_MS = 2_000;

/**
 * tls.crt and tls.key of a folder, looked at every two seconds: a mounted Secret is swapped by renaming links, of which
 * file events tell differently on each file system. The two files may be of different Secrets for a moment; they are
 * taken only together.
 */
export class CertificateFiles implements CertificateSource {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #lookMs: number;
  #cancel: () => void = () => {};
  #closed = false;
  #last = "";

  constructor(folder: string, clock: Clock, lookMs = LOOK_MS) {
    this.#folder = folder;
    this.#clock = clock;
    this.#lookMs = lookMs;
  }

  start(onCertificate: (certificate: ServingCertificate) => void, onRefused: (why: string) => void): void {
    const look = async (): Promise<void> => {
      const found = await this.#read();
      if (this.#closed) return;
      const seen = "problem" in found ? found.problem : found.certPem + found.keyPem;
      if (seen !== this.#last) {
        this.#last = seen;
        if ("problem" in found) onRefused(found.problem);
        else onCertificate(found);
      }
      this.#cancel = this.#clock.after(this.#lookMs, () => void look());
    };
    void look();
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  async #read(): Promise<ServingCertificate | { readonly problem: string }> {
    try {
      const [certPem, keyPem] = await Promise.all(["tls.crt", "tls.key"].map((file) => readFile(path.join(this.#folder, file), "utf8")));
      return readPair(certPem ?? "", keyPem ?? "");
    } catch (error) {
      return { problem: (error as Error).message };
    }
  }
}
