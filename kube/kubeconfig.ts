import { isAbsolute, join } from "node:path";
import { parse } from "yaml";
import { record, text } from "./kube-error.ts";

/** PEM that is given itself, or a file that holds it (read when needed: such files are rotated). */
export type Pem = { readonly pem: string } | { readonly file: string };

/** How to prove who we are. */
export type Credential =
  | { readonly kind: "none" }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "tokenFile"; readonly file: string }
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  | { readonly kind: "certificate"; readonly certificate: Pem; readonly key: Pem }
  | ExecCredential;

/** A program that prints a token or a certificate (client.authentication.k8s.io); EKS, GKE and AKS all use one. */
export interface ExecCredential {
  readonly kind: "exec";
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly apiVersion: string;
  /** Tell it which cluster it is for. */
  readonly provideClusterInfo: boolean;
  /** What the user should do when it is not installed. */
  readonly installHint: string;
}

/** Where an API server is and how to speak to it. */
export interface ClusterAccess {
  /** "https://host:port" without a slash at its end; a path may follow (a server behind a proxy has one). */
  readonly server: string;
  /** Null: Node's own list of CAs. */
  readonly ca: Pem | null;
  /** Name that its certificate must have, where it is not the host's; "" otherwise. */
  readonly tlsServerName: string;
  readonly insecureSkipTlsVerify: boolean;
  readonly credential: Credential;
  /** The context's, "default" without one. */
  readonly namespace: string;
}

/** Something that is missing or wrong in a kubeconfig, or outside a pod: the user's to mend. */
export class AccessError extends Error {
  override readonly name = "AccessError";
}

/** A kubeconfig as it was read. */
export interface KubeconfigFile {
  readonly path: string;
  readonly text: string;
}

/** Folder in which kubelet puts a pod's own credentials. */
export const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The access that a pod has. Throws AccessError outside a pod (KUBERNETES_SERVICE_HOST and _PORT are not set).
 * `namespace`: what the file `namespace` in SERVICE_ACCOUNT_DIR says.
 */
export function inClusterAccess(host: string | undefined, port: string | undefined, namespace: string): ClusterAccess {
  if (host === undefined || host === "" || port === undefined || port === "")
    throw new AccessError("this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set. Give --kubeconfig FILE");
  return {
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    ca: { file: join(SERVICE_ACCOUNT_DIR, "ca.crt") },
    tlsServerName: "",
    insecureSkipTlsVerify: false,
    credential: { kind: "tokenFile", file: join(SERVICE_ACCOUNT_DIR, "token") },
    namespace: namespace.trim() || "default",
  };
}

/**
 * The access of one context. Of several files the first that names a thing wins, as with kubectl; a path is relative to
 * its file. `context` "": the current one. Throws AccessError that names file, part and remedy.
 */
export function kubeconfigAccess(files: readonly KubeconfigFile[], context = ""): ClusterAccess {
  const parts = files.map(readFile);
  const where = files.map(({ path }) => path).join(", ");
  const wanted = context !== "" ? context : (parts.map(({ current }) => current).find((name) => name !== "") ?? "");
  if (wanted === "") throw new AccessError(`${where}: there is no current-context. \`kubectl config use-context NAME\` sets one`);
  const chosen = find(parts, "contexts", wanted, where);
  const cluster = find(parts, "clusters", text(chosen.value["cluster"]), where);
  const userName = text(chosen.value["user"]);
  const user = userName === "" ? { value: {}, file: cluster.file } : find(parts, "users", userName, where);
  const { value, file } = cluster;
  if (text(value["proxy-url"]) !== "") throw new AccessError(`${file.path}: proxy-url is not supported; reach the API server directly`);
  return {
    server: serverOf(text(value["server"]), file.path),
    ca: pemOf(value, "certificate-authority", file),
    tlsServerName: text(value["tls-server-name"]),
    insecureSkipTlsVerify: value["insecure-skip-tls-verify"] === true,
    credential: credentialOf(user.value, user.file),
    namespace: text(chosen.value["namespace"]) || "default",
  };
}

type Fields = Readonly<Record<string, unknown>>;
interface Parts {
  readonly file: KubeconfigFile;
  readonly current: string;
  readonly fields: Fields;
}

const SECTIONS = { contexts: "context", clusters: "cluster", users: "user" } as const;

function readFile(file: KubeconfigFile): Parts {
  let fields: Fields;
  try {
    fields = record(parse(file.text));
  } catch (error) {
    throw new AccessError(`${file.path}: it is no YAML (${(error as Error).message.split("\n", 1)[0]})`);
  }
  return { file, fields, current: text(fields["current-context"]) };
}

function find(
  parts: readonly Parts[],
  section: keyof typeof SECTIONS,
  name: string,
  where: string,
): { value: Fields; file: KubeconfigFile } {
  for (const { file, fields } of parts) {
    const entries = Array.isArray(fields[section]) ? fields[section].map(record) : [];
    const entry = entries.find((one) => one["name"] === name);
    if (entry !== undefined) return { value: record(entry[SECTIONS[section]]), file };
  }
  throw new AccessError(`${where}: there is no ${SECTIONS[section]} "${name}"`);
}

function serverOf(server: string, path: string): string {
  const url = URL.canParse(server) ? new URL(server) : null;
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:"))
    throw new AccessError(`${path}: server "${server}" is no http(s) URL`);
  return server.replace(/\/+$/, "");
}

function pemOf(fields: Fields, name: string, { path }: KubeconfigFile): Pem | null {
  const data = text(fields[`${name}-data`]);
  if (data !== "") return { pem: Buffer.from(data, "base64").toString("utf8") };
  const file = text(fields[name]);
  return file === "" ? null : { file: besides(path, file) };
}

function besides(path: string, file: string): string {
  return isAbsolute(file) ? file : join(path, "..", file);
}

function credentialOf(user: Fields, file: KubeconfigFile): Credential {
  const certificate = pemOf(user, "client-certificate", file);
  const key = pemOf(user, "client-key", file);
  if (certificate !== null && key !== null) return { kind: "certificate", certificate, key };
  if (certificate !== null || key !== null) throw new AccessError(`${file.path}: client-certificate and client-key belong together`);
  const tokenFile = text(user["tokenFile"]);
  if (tokenFile !== "") return { kind: "tokenFile", file: besides(file.path, tokenFile) };
  const token = text(user["token"]);
  if (token !== "") return { kind: "token", token };
  if (user["exec"] !== undefined) return execOf(record(user["exec"]), file);
  if (user["auth-provider"] !== undefined)
    throw new AccessError(`${file.path}: auth-provider was removed from Kubernetes in 1.26; use the provider's exec plugin`);
  const username = text(user["username"]);
  return username === "" ? { kind: "none" } : { kind: "basic", username, password: text(user["password"]) };
}

function execOf(exec: Fields, file: KubeconfigFile): ExecCredential {
  const command = text(exec["command"]);
  if (command === "") throw new AccessError(`${file.path}: exec has no command`);
  const apiVersion = text(exec["apiVersion"]) || "client.authentication.k8s.io/v1";
  if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion))
    throw new AccessError(`${file.path}: exec's apiVersion ${apiVersion} is not known; update the plugin`);
  const env: Record<string, string> = {};
  for (const item of Array.isArray(exec["env"]) ? exec["env"] : []) env[text(record(item)["name"])] = text(record(item)["value"]);
  return {
    kind: "exec",
    // A name without a slash is looked up in PATH; one with a slash is relative to the file.
    command: command.includes("/") ? besides(file.path, command) : command,
    args: (Array.isArray(exec["args"]) ? exec["args"] : []).map(text),
    env,
    apiVersion,
    provideClusterInfo: exec["provideClusterInfo"] === true,
    installHint: text(exec["installHint"]),
  };
}
