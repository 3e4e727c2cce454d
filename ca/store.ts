import { lstatSync, mkdirSync, readFileSync, type Stats } from "node:fs";
import { join } from "node:path";
import { writeAtomically } from "./atomic-file.ts";
import { type Certificate, parseCertificate } from "./certificate.ts";
import { IssuerKey } from "./sign.ts";

/** Something in the state folder that we will neither use nor overwrite. */
export class StateError extends Error {
  override readonly name = "StateError";
  readonly file: string;
  readonly problem: string;
  readonly remedy: string;

  constructor(file: string, problem: string, remedy: string) {
    super(`WEFT_BAD_STATE: ${file}: ${problem}. ${remedy}`);
    this.file = file;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** A key and its certificate, in one file so that no crash can part them. */
export interface KeyPair {
  readonly key: IssuerKey;
  readonly certificate: Certificate;
}

export type PairName = "root" | "issuer";

/** Bytes; a pair has about 1 KiB. */
const FILE_BYTES_MAX = 64 * 1024;

/** Root and issuer in `<folder>/{root,issuer}.pem`, readable by their owner alone. */
export class KeyStore {
  readonly folder: string;

  /** Makes the folder (0700) if it is not there. Throws StateError when others may enter it. */
  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    requireOwn(folder, lstatSync(folder), "folder", "chmod 700");
  }

  path(name: PairName): string {
    return join(this.folder, `${name}.pem`);
  }

  /** Null when there is no such file. Throws StateError for one that cannot be trusted or read. */
  load(name: PairName): KeyPair | null {
    const path = this.path(name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return null;
    requireOwn(path, stats, "file", "chmod 600");
    if (stats.size > FILE_BYTES_MAX) throw new StateError(path, "it is too large to be a key and a certificate", restore(name));
    return parsePair(path, readFileSync(path, "utf8"), name);
  }

  save(name: PairName, pair: KeyPair): void {
    writeAtomically(this.path(name), pair.key.toPem() + pem("CERTIFICATE", pair.certificate.der), 0o600);
  }
}

/** RFC 7468. */
export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** What to do about a broken file: an issuer is replaceable, a root is what everyone trusts. */
export function restore(name: PairName): string {
  return name === "issuer"
    ? "Restore it from a backup, or delete it: a new issuer is then made under the same root"
    : "Restore it from a backup; or delete root.pem and issuer.pem to begin a new CA, after which every proxy must be restarted to trust it";
}

function parsePair(path: string, text: string, name: PairName): KeyPair {
  const key = block(text, "PRIVATE KEY");
  const certificatePem = block(text, "CERTIFICATE");
  if (key === null || certificatePem === null)
    throw new StateError(path, "it does not hold one PRIVATE KEY and one CERTIFICATE in PEM", restore(name));
  let pair: KeyPair;
  try {
    const body = certificatePem.replace(/-----[A-Z ]+-----/g, "");
    pair = { key: IssuerKey.fromPem(key), certificate: parseCertificate(new Uint8Array(Buffer.from(body, "base64"))) };
  } catch (error) {
    throw new StateError(path, `it cannot be read (${(error as Error).message})`, restore(name));
  }
  if (Buffer.compare(pair.key.publicKey(), pair.certificate.publicKey) !== 0) {
    throw new StateError(path, "its certificate is for another key", restore(name));
  }
  return pair;
}

/** The one PEM block with this label; null for none or several. */
function block(text: string, label: string): string | null {
  const found = text.match(new RegExp(`-----BEGIN ${label}-----[A-Za-z0-9+/=\\s]+-----END ${label}-----`, "g"));
  return found?.length === 1 ? (found[0] ?? null) : null;
}

function requireOwn(path: string, stats: Stats, kind: "file" | "folder", command: string): void {
  const right = kind === "file" ? stats.isFile() : stats.isDirectory();
  if (!right) throw new StateError(path, `it is not a plain ${kind}`, "Move it away");
  if (process.getuid !== undefined && stats.uid !== process.getuid()) {
    throw new StateError(
      path,
      `it belongs to user ${stats.uid}, not to the user that runs this (${process.getuid()})`,
      "Run as its owner, or chown it",
    );
  }
  if ((stats.mode & 0o077) !== 0) {
    throw new StateError(
      path,
      `others may read or change it (mode ${(stats.mode & 0o777).toString(8)})`,
      `If nobody did: ${command} ${path}. If somebody may have: replace the CA`,
    );
  }
}
