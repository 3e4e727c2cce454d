import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import { createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import { apiServerBinary, etcdBinary } from "./binaries.ts";

/** A running API server with its etcd: alone, without nodes, controllers or scheduler, on loopback, of the user who started it. */
export interface ApiServer {
  /** File for kubectl and for our own client; its user may do everything. */
  readonly kubeconfig: string;
  readonly port: number;
  /** Makes every revision up to now too old (410). Of kinds whose watches etcd serves: `uncached`. */
  compact(): Promise<void>;
  /** Lines of the audit log so far: one JSON object a request. */
  audit(): string[];
  /** Ends both processes and removes their folder. */
  stop(): Promise<void>;
}

export interface ApiServerOptions {
  /** Kinds ("configmaps", "trafficpolicies.weft.dev") that are served from etcd and not from the server's own cache. */
  readonly uncached?: readonly string[];
  readonly say?: (line: string) => void;
}

const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv"].find((file) => existsSync(file));
const READY_MS_MAX = 60_000;
/** After this long a process that was asked to end is ended. */
const STOP_MS_MAX = 10_000;

/** Starts one, runs the body, and stops it whatever the body did. */
export async function withApiServer<T>(body: (server: ApiServer) => Promise<T>, options: ApiServerOptions = {}): Promise<T> {
  const server = await startApiServer(options);
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

/** Ready when it resolves. Rejects with MissingTool, or with what the process said that did not start. */
export async function startApiServer({ uncached = [], say = () => {} }: ApiServerOptions = {}): Promise<ApiServer> {
  const [etcd, apiServer] = [await etcdBinary(say), await apiServerBinary(say)];
  const dir = mkdtempSync(path.join(os.tmpdir(), "weft-apiserver-"));
  const children: Child[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.reverse()) await child.end();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const [clientPort, peerPort, port] = await freePorts(3);
    const etcdUrl = `http://127.0.0.1:${clientPort}`;
    const flags = etcdFlags(dir, etcdUrl, `http://127.0.0.1:${peerPort}`);
    children.push(new Child(etcd, flags, path.join(dir, "etcd.log")));
    const token = randomBytes(16).toString("hex");
    children.push(new Child(apiServer, apiServerFlags(dir, etcdUrl, port, token, uncached), path.join(dir, "apiserver.log")));
    await ready(port, token, children);
    const kubeconfig = path.join(dir, "kubeconfig");
    writeFileSync(kubeconfig, kubeconfigText(port, token), { mode: 0o600 });
    const audit = () =>
      readFileSync(path.join(dir, "audit.log"), "utf8")
        .split("\n")
        .filter((line) => line !== "");
    return { kubeconfig, port, compact: () => compact(etcdUrl), audit, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function etcdFlags(dir: string, url: string, peerUrl: string): string[] {
  return [
    `--data-dir=${path.join(dir, "etcd")}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    "--unsafe-no-fsync",
  ];
}

/** Its certificate it makes itself; the admin has a token. */
function apiServerFlags(dir: string, etcdUrl: string, port: number, token: string, uncached: readonly string[]): string[] {
  const certificates = path.join(dir, "certificates");
  mkdirSync(certificates);
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const at = (name: string, text: string): string => {
    writeFileSync(path.join(dir, name), text, { mode: 0o600 });
    return path.join(dir, name);
  };
  return [
    `--etcd-servers=${etcdUrl}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    `--secure-port=${port}`,
    `--cert-dir=${certificates}`,
    `--token-auth-file=${at("tokens.csv", `${token},admin,admin,"system:masters"\n`)}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-signing-key-file=${at("service-account.key", privateKey.export({ type: "pkcs8", format: "pem" }).toString())}`,
    `--service-account-key-file=${at("service-account.pub", publicKey.export({ type: "spki", format: "pem" }).toString())}`,
    "--service-cluster-ip-range=10.96.0.0/16",
    "--authorization-mode=RBAC",
    "--allow-privileged=true",
    "--endpoint-reconciler-type=none",
    `--audit-log-path=${path.join(dir, "audit.log")}`,
    `--audit-policy-file=${at("audit.yaml", "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n")}`,
    ...(uncached.length === 0 ? [] : [`--watch-cache-sizes=${uncached.map((kind) => `${kind}#0`).join(",")}`]),
  ];
}

function kubeconfigText(port: number, token: string): string {
  return [
    "apiVersion: v1",
    "kind: Config",
    "clusters:",
    "- name: test",
    `  cluster: {server: "https://127.0.0.1:${port}", certificate-authority: certificates/apiserver.crt}`,
    "users:",
    "- name: admin",
    `  user: {token: "${token}"}`,
    "contexts:",
    "- name: test",
    "  context: {cluster: test, user: admin}",
    "current-context: test",
    "",
  ].join("\n");
}

/** One process, its log and its end. */
class Child {
  readonly #process: ChildProcess;
  readonly #log: string;
  readonly #name: string;
  readonly #exited: Promise<void>;
  #failure: string | null = null;

  constructor(program: string, flags: readonly string[], log: string) {
    this.#name = path.basename(program);
    this.#log = log;
    // It must not outlive us, however we end. setpriv (util-linux) becomes the program, so the id is the program's.
    const [command, ...args] = SETPRIV === undefined ? [program] : [SETPRIV, "--pdeathsig", "KILL", "--", program];
    this.#process = spawn(command, [...args, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
    const file = createWriteStream(log);
    this.#process.stdout?.pipe(file, { end: false });
    this.#process.stderr?.pipe(file, { end: false });
    this.#exited = new Promise((resolve) => {
      this.#process.once("error", (error) => {
        this.#failure = error.message;
        resolve();
      });
      this.#process.once("close", (code, signal) => {
        this.#failure ??= `it ended with ${code ?? signal}`;
        file.end();
        resolve();
      });
    });
  }

  /** Throws when it has ended by itself. */
  check(): void {
    if (this.#failure !== null)
      throw new Error(`${this.#name} does not run: ${this.#failure}\n${readFileSync(this.#log, "utf8").slice(-3000)}`);
  }

  async end(): Promise<void> {
    if (this.#failure === null) this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS_MAX);
    await this.#exited;
    clearTimeout(timer);
  }
}

async function ready(port: number, token: string, children: readonly Child[]): Promise<void> {
  const endMs = performance.now() + READY_MS_MAX;
  let last = "";
  while (performance.now() < endMs) {
    for (const child of children) child.check();
    try {
      last = await get(port, token, "/readyz");
      if (last === "ok") return;
    } catch (error) {
      last = (error as Error).message;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`kube-apiserver was not ready within ${READY_MS_MAX / 1000} s: ${last}`);
}

/** Whatever its certificate is: who listens there was just started by us. */
function get(port: number, token: string, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      host: "127.0.0.1",
      port,
      path: url,
      rejectUnauthorized: false,
      headers: { authorization: `Bearer ${token}` },
      agent: false as const,
    };
    const request = https.get(options, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      response.once("end", () => resolve(body));
      response.once("error", reject);
    });
    request.once("error", reject);
    request.setTimeout(2000, () => request.destroy(new Error("no answer")));
  });
}

/** etcd's JSON gateway. */
async function compact(etcdUrl: string): Promise<void> {
  const ask = async (at: string, body: object): Promise<{ readonly header?: { readonly revision?: string } }> => {
    const response = await fetch(`${etcdUrl}/v3/kv/${at}`, { method: "POST", body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd: ${at}: ${text}`);
    return JSON.parse(text) as { header?: { revision?: string } };
  };
  const { header } = await ask("range", { key: Buffer.from("x").toString("base64") });
  await ask("compaction", { revision: header?.revision, physical: true });
}

/** Ports that are free now. All are held until all are known, so that none is given twice. */
async function freePorts(count: number): Promise<[number, number, number]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve, reject) => {
        server.once("error", reject);
        server.listen(0, "127.0.0.1", () => resolve(server));
      });
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports as [number, number, number];
}
