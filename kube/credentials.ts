import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { Clock } from "#api/clock.ts";
import { KubeError, record, text } from "./kube-error.ts";
import type { ClusterAccess, ExecCredential, Pem } from "./kubeconfig.ts";

/** What a request carries to prove who it is from. */
export interface Proof {
  /** "" sends none. */
  readonly authorization: string;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly ca: string | undefined;
}

/** Files are read again after this long: kubelet writes a pod's token anew each hour, and certificates are rotated. Milliseconds. */
const READ_EVERY_MS = 60_000;
/** A plugin's answer without an end is asked for again after this long, milliseconds. */
const EXEC_EVERY_MS = 10 * 60_000;
/** A plugin's answer is not used in its last moments, milliseconds. */
const EXPIRY_MARGIN_MS = 10_000;
/** A plugin may ask its user something; it may not hang for ever. Milliseconds. */
const EXEC_MS_MAX = 60_000;
const EXEC_BYTES_MAX = 1024 * 1024;

/** Reads tokens, certificates and plugins' answers, and reads them again when they are old or were refused. */
export class Credentials {
  readonly #access: ClusterAccess;
  readonly #clock: Clock;
  readonly #environment: Readonly<Record<string, string | undefined>>;
  #reading: Promise<Proof> | null = null;
  #goodUntilMs = 0;

  /** `environment`: what an exec plugin inherits. */
  constructor(access: ClusterAccess, clock: Clock, environment: Readonly<Record<string, string | undefined>>) {
    this.#access = access;
    this.#clock = clock;
    this.#environment = environment;
  }

  /** Rejects with KubeError (status 0) when a file cannot be read or a plugin fails; asked again it tries again. */
  proof(): Promise<Proof> {
    if (this.#reading !== null && this.#clock.monotonicMs() < this.#goodUntilMs) return this.#reading;
    this.#goodUntilMs = this.#clock.monotonicMs() + READ_EVERY_MS;
    const reading = this.#read();
    this.#reading = reading;
    reading.catch(() => {
      if (this.#reading === reading) this.#reading = null;
    });
    return reading;
  }

  /** The server refused it (401): the next `proof` is read anew. */
  expire(): void {
    this.#goodUntilMs = 0;
  }

  async #read(): Promise<Proof> {
    const { credential } = this.#access;
    const ca = this.#access.ca === null ? undefined : await pemText(this.#access.ca);
    const none = { authorization: "", certificate: undefined, key: undefined, ca };
    switch (credential.kind) {
      case "none":
        return none;
      case "token":
        return { ...none, authorization: `Bearer ${credential.token}` };
      case "tokenFile":
        return { ...none, authorization: `Bearer ${(await fileText(credential.file)).trim()}` };
      case "basic":
        return { ...none, authorization: `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString("base64")}` };
      case "certificate":
        return { ...none, certificate: await pemText(credential.certificate), key: await pemText(credential.key) };
      case "exec": {
        const { token, certificate, key, lastsMs } = this.#said(credential, await this.#run(credential, ca));
        this.#goodUntilMs = this.#clock.monotonicMs() + lastsMs;
        return { ...none, authorization: token === "" ? "" : `Bearer ${token}`, certificate, key };
      }
    }
  }

  #run(credential: ExecCredential, ca: string | undefined): Promise<string> {
    const { server, tlsServerName, insecureSkipTlsVerify } = this.#access;
    const cluster = {
      server,
      ...(tlsServerName === "" ? {} : { "tls-server-name": tlsServerName }),
      ...(insecureSkipTlsVerify ? { "insecure-skip-tls-verify": true } : {}),
      ...(ca === undefined ? {} : { "certificate-authority-data": Buffer.from(ca).toString("base64") }),
    };
    const spec = { interactive: false, ...(credential.provideClusterInfo ? { cluster } : {}) };
    const info = JSON.stringify({ apiVersion: credential.apiVersion, kind: "ExecCredential", spec });
    const env = { ...this.#environment, ...credential.env, KUBERNETES_EXEC_INFO: info };
    const options = { env, timeout: EXEC_MS_MAX, maxBuffer: EXEC_BYTES_MAX, killSignal: "SIGKILL" } as const;
    return new Promise((resolve, reject) => {
      execFile(credential.command, credential.args, options, (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const hint =
          (error as NodeJS.ErrnoException).code === "ENOENT" && credential.installHint !== "" ? `. ${credential.installHint}` : "";
        reject(new KubeError(`the credential plugin ${credential.command} failed: ${stderr.trim().slice(0, 500) || error.message}${hint}`));
      });
    });
  }

  #said(credential: ExecCredential, output: string) {
    let answer: Readonly<Record<string, unknown>>;
    try {
      answer = record(JSON.parse(output));
    } catch {
      throw new KubeError(`the credential plugin ${credential.command} printed no JSON`);
    }
    if (answer["kind"] !== "ExecCredential" || answer["apiVersion"] !== credential.apiVersion)
      throw new KubeError(`the credential plugin ${credential.command} printed no ExecCredential of ${credential.apiVersion}`);
    const status = record(answer["status"]);
    const [token, certificate, key] = ["token", "clientCertificateData", "clientKeyData"].map((name) => text(status[name])) as [
      string,
      string,
      string,
    ];
    if (token === "" && (certificate === "" || key === ""))
      throw new KubeError(`the credential plugin ${credential.command} printed neither a token nor a certificate with its key`);
    const expiresMs = Date.parse(text(status["expirationTimestamp"]));
    const lastsMs = Number.isNaN(expiresMs) ? EXEC_EVERY_MS : Math.max(0, expiresMs - this.#clock.wallMs() - EXPIRY_MARGIN_MS);
    return { token, certificate: certificate || undefined, key: key || undefined, lastsMs };
  }
}

function pemText(pem: Pem): Promise<string> {
  return "pem" in pem ? Promise.resolve(pem.pem) : fileText(pem.file);
}

async function fileText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new KubeError(`a credential cannot be read: ${(error as Error).message}`);
  }
}
