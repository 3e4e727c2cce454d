import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { execute } from "./processes.ts";
import { must, until } from "./wait.ts";

/** Files of one identity, as `weft identity fetch` writes them. */
export interface IdentityFiles {
  readonly key: string;
  readonly svid: string;
  readonly bundle: string;
}

export function identityFiles(folder: string): IdentityFiles {
  return { key: path.join(folder, "key.pem"), svid: path.join(folder, "svid.pem"), bundle: path.join(folder, "bundle.pem") };
}

/** An `openssl` that talks: what it printed so far, and whether it has ended. */
export class Talk {
  output = "";
  ended = false;
  private readonly child: ChildProcess;

  constructor(args: readonly string[]) {
    this.child = spawn("openssl", [...args], { stdio: ["pipe", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding("latin1").on("data", (text: string) => (this.output += text));
    this.child.stdin?.on("error", () => {});
    this.child.once("error", (error) => {
      this.output += `\n${error.message}`;
      this.ended = true;
    });
    this.child.once("close", () => (this.ended = true));
  }

  say(text: string): void {
    this.child.stdin?.write(text);
  }

  /** Waits for `pattern` in the output; rejects when it ends before or after `withinMs`. */
  async hear(pattern: RegExp, withinMs: number): Promise<void> {
    await until(`openssl says ${pattern}`, withinMs, () => pattern.test(this.output) || this.ended, 10).catch((error: Error) => {
      throw new Error(`${error.message}: ${this.lastWords()}`);
    });
    must(pattern.test(this.output), `openssl ended without ${pattern}: ${this.lastWords()}`);
  }

  close(): void {
    this.child.kill("SIGKILL");
  }

  /** Ends an `s_server` in the middle of a connection, so that it writes out what it holds back. */
  async finish(): Promise<void> {
    this.child.stdin?.end();
    await until("openssl ends", 1500, () => this.ended, 10).catch(() => this.close());
    await until("openssl is gone", 2000, () => this.ended, 10);
  }

  lastWords(): string {
    return this.output
      .replace(/-----BEGIN[\s\S]*?-----END [A-Z ]+-----/g, "")
      .trim()
      .split("\n")
      .slice(-6)
      .join(" | ")
      .slice(-500);
  }

  /** PEM certificates in the output, in order. */
  certificates(): string[] {
    return this.output.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  }
}

export interface ClientOptions {
  readonly address: string;
  readonly port: number;
  /** Absent: no certificate is shown. */
  readonly identity?: IdentityFiles;
  /** Roots to verify the server against. */
  readonly bundle: string;
  /** "" offers none. */
  readonly alpn: string;
  readonly trustDomain: string;
}

/** `openssl s_client` against an inbound, TLS 1.3 only, verifying the chain. It stays open until `close`. */
export function client({ address, port, identity, bundle, alpn, trustDomain }: ClientOptions): Talk {
  const own = identity === undefined ? [] : ["-cert", identity.svid, "-key", identity.key, "-cert_chain", identity.svid];
  return new Talk([
    "s_client",
    ...["-connect", `${address}:${port}`, "-tls1_3", "-ign_eof", "-CAfile", bundle, "-verify_return_error"],
    ...["-servername", `pod.weft.${trustDomain}`],
    ...own,
    ...(alpn === "" ? [] : ["-alpn", alpn]),
  ]);
}

/** `openssl s_server` that demands a certificate of the bundle and speaks weft-tcp/1. Resolves once it listens. */
export async function server(address: string, port: number, identity: IdentityFiles, bundle: string): Promise<Talk> {
  const talk = new Talk([
    "s_server",
    ...["-accept", `${address}:${port}`, "-tls1_3", "-alpn", "weft-tcp/1"],
    ...["-cert", identity.svid, "-key", identity.key, "-cert_chain", identity.svid],
    ...["-CAfile", bundle, "-Verify", "1", "-verify_return_error"],
  ]);
  await talk.hear(/^ACCEPT/m, 5000);
  return talk;
}

/** All names in the subjectAltName of a certificate, e.g. ["URI:spiffe://…"]. */
export async function namesIn(pem: string): Promise<string[]> {
  const { stdout, stderr, code } = await execute("openssl", ["x509", "-noout", "-ext", "subjectAltName"], pem);
  must(code === 0, `openssl x509: ${stderr}`);
  return stdout
    .split("\n")
    .slice(1)
    .join("\n")
    .split(",")
    .map((s) => s.trim())
    .filter((s) => s !== "");
}

/** A CA that nobody in the mesh knows, and a certificate of its for `uri`. */
export async function foreignIdentity(folder: string, uri: string): Promise<IdentityFiles> {
  fs.mkdirSync(folder, { recursive: true });
  const at = (name: string): string => path.join(folder, name);
  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await execute("openssl", args);
    must(code === 0, `openssl ${args[0]}: ${stderr}`);
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  await openssl("req", "-x509", ...key, "-keyout", at("ca.key"), "-out", at("bundle.pem"), "-subj", "/O=Somebody else", "-days", "2");
  await openssl("req", "-new", ...key, "-keyout", at("key.pem"), "-out", at("request.pem"), "-subj", "/O=Somebody else");
  const extensions = [
    `subjectAltName=critical,URI:${uri}`,
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
  ];
  fs.writeFileSync(at("extensions"), `${extensions.join("\n")}\n`);
  const sign = ["-CA", at("bundle.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "1", "-extfile", at("extensions")];
  await openssl("x509", "-req", "-in", at("request.pem"), ...sign, "-out", at("svid.pem"));
  fs.appendFileSync(at("svid.pem"), fs.readFileSync(at("bundle.pem")));
  return identityFiles(folder);
}
