import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { cacheFolder, inPath, isProgram, MissingTool } from "./binaries.ts";

const run = promisify(execFile);

/** The charts must work with both: 3 merges three ways on the client, 4 applies on the server. */
export const HELM_VERSIONS = { 3: "3.22.0", 4: "4.3.1" } as const;
export type HelmMajor = keyof typeof HELM_VERSIONS;

const BUILD_MS_MAX = 10 * 60_000;

/**
 * Path of helm, built from its Go module and kept in the user's cache folder by version: about 75 s on two cores the first
 * time, nothing later. Throws MissingTool without Go.
 */
export async function helmBinary(major: HelmMajor, say: (line: string) => void): Promise<string> {
  const version = HELM_VERSIONS[major];
  const folder = path.join(cacheFolder(), `helm-${version}-${process.platform}-${process.arch}`);
  const file = path.join(folder, "helm");
  if (isProgram(file)) return file;
  const go = inPath("go") ?? ["/usr/local/go/bin/go"].find(isProgram);
  if (go === undefined) throw new MissingTool(`helm ${version} is not in ${folder}, and there is no Go (1.25 or later) to build it with`);
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(path.join(folder, "build-"));
  try {
    say(`building helm ${version} (once; about 75 s on two cores)`);
    const env = { ...process.env, GOBIN: work, GOFLAGS: "-mod=mod", GOWORK: "off", CGO_ENABLED: "0" };
    await run(go, ["install", "-trimpath", `helm.sh/helm/v${major}/cmd/helm@v${version}`], {
      env,
      timeout: BUILD_MS_MAX,
      maxBuffer: 64 * 1024 * 1024,
    });
    renameSync(path.join(work, "helm"), file);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return file;
}
