import { execFile, spawn } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Newest that a kubelet on cgroups v1 takes, which the node for `make cluster-up` needs too: shared/facts/cluster. */
export const KUBERNETES_VERSION = "1.34.4";
/** The API server's own libraries, which k8s.io/kubernetes' go.mod replaces by folders that its module does not hold. */
const STAGING =
  "api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin sample-controller";
/** Where Debian and others put etcd, besides PATH. */
const ETCD_ELSEWHERE = ["/usr/bin/etcd", "/usr/local/bin/etcd", "/usr/sbin/etcd"];

/** Something that this machine lacks, and what to do about it. */
export class MissingTool extends Error {
  override readonly name = "MissingTool";
}

/** Path of etcd. As root on a Debian it is installed when it is not there. Throws MissingTool. */
export async function etcdBinary(say: (line: string) => void): Promise<string> {
  const found = inPath("etcd") ?? ETCD_ELSEWHERE.find(isProgram);
  if (found !== undefined) return found;
  if (process.getuid?.() !== 0 || inPath("apt-get") === undefined)
    throw new MissingTool(
      "etcd is not installed. On Debian or Ubuntu: sudo apt-get install etcd-server; elsewhere put `etcd` (3.4 or later) into PATH",
    );
  say("installing etcd (apt-get install etcd-server)");
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    await run("apt-get", ["install", "-y", "--no-install-recommends", "etcd-server"], { env });
  } catch {
    await run("apt-get", ["update"], { env });
    await run("apt-get", ["install", "-y", "--no-install-recommends", "etcd-server"], { env });
  }
  const installed = inPath("etcd") ?? ETCD_ELSEWHERE.find(isProgram);
  if (installed === undefined) throw new MissingTool("etcd-server is installed and there is no `etcd` in PATH");
  return installed;
}

/**
 * Path of kube-apiserver, built from the Go module of its version and kept in the user's cache folder: about 200 s on
 * two cores the first time, nothing later. Throws MissingTool without Go.
 */
export async function apiServerBinary(say: (line: string) => void): Promise<string> {
  const folder = path.join(cacheFolder(), `kubernetes-${KUBERNETES_VERSION}-${process.platform}-${process.arch}`);
  const file = path.join(folder, "kube-apiserver");
  if (isProgram(file)) return file;
  const go = inPath("go") ?? ["/usr/local/go/bin/go"].find(isProgram);
  if (go === undefined)
    throw new MissingTool(`kube-apiserver ${KUBERNETES_VERSION} is not in ${folder}, and there is no Go (1.24 or later) to build it with`);
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(path.join(folder, "build-"));
  try {
    say(`building kube-apiserver ${KUBERNETES_VERSION} (once; about 200 s on two cores)`);
    writeFileSync(path.join(work, "go.mod"), goMod());
    writeFileSync(path.join(work, "tools.go"), '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver"\n');
    await build(go, work, say);
    // Renamed at the end: whoever finds it finds it whole, and of two that build at once either wins.
    renameSync(path.join(work, "kube-apiserver"), file);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return file;
}

function build(go: string, work: string, say: (line: string) => void): Promise<void> {
  const [major, minor] = KUBERNETES_VERSION.split(".");
  const versions = { gitVersion: `v${KUBERNETES_VERSION}`, gitMajor: major, gitMinor: minor };
  const flags = Object.entries(versions).map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  const args = [
    "build",
    "-trimpath",
    "-ldflags",
    ["-s", "-w", ...flags].join(" "),
    "-o",
    "kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-apiserver",
  ];
  const env = { ...process.env, GOFLAGS: "-mod=mod", GOWORK: "off", CGO_ENABLED: "0" };
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const child = spawn(go, args, { cwd: work, env, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000);
    });
    const ticks = setInterval(() => say(`  still building after ${Math.round((performance.now() - startedMs) / 1000)} s`), 15_000);
    const done = (error: Error | null): void => {
      clearInterval(ticks);
      if (error === null) resolve();
      else reject(error);
    };
    child.once("error", done);
    child.once("close", (code) => done(code === 0 ? null : new Error(`go build ended with ${code}:\n${said}`)));
  });
}

function goMod(): string {
  const staged = `v0.${KUBERNETES_VERSION.split(".").slice(1).join(".")}`;
  const replaced = STAGING.split(" ").map((name) => `replace k8s.io/${name} => k8s.io/${name} ${staged}`);
  return [
    "module weft.local/kubernetes",
    "",
    "go 1.24.0",
    "",
    `require k8s.io/kubernetes v${KUBERNETES_VERSION}`,
    "",
    ...replaced,
    "",
  ].join("\n");
}

export function cacheFolder(): string {
  const home = process.env["XDG_CACHE_HOME"];
  return path.join(home === undefined || home === "" ? path.join(os.homedir(), ".cache") : home, "weft");
}

export function inPath(program: string): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(path.delimiter)
    .map((folder) => path.join(folder, program))
    .find(isProgram);
}

export function isProgram(file: string): boolean {
  if (!existsSync(file)) return false;
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
