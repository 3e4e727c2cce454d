import { lstatSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "#api/clock.ts";
import { writeAtomically } from "#ca/atomic-file.ts";
import { Authority, type AuthorityOptions } from "#ca/authority.ts";
import type { KubeClient } from "#kube/client.ts";
import { asKubeError, record, text } from "#kube/kube-error.ts";
import { objectPath, SECRETS } from "#kube/resource.ts";
import type { Logger } from "#runtime/logger.ts";

export interface CaSecretDeps {
  readonly client: Pick<KubeClient, "request">;
  readonly namespace: string;
  /** Of the Secret; the chart makes it, empty. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Key and certificate of the root, PEM, as the state folder has them. */
const ROOT = "root.pem";
/** After a failure, or when another replica was faster, milliseconds. */
const AGAIN_MS = 2000;

/**
 * One root for all replicas: the Secret's. The first replica that finds the Secret empty fills it with the root that it
 * made; of two that do so at once the API server takes one, and the other begins again with what that wrote. Issuers are
 * each replica's own, under the same root: they travel with the leaves that they signed.
 *
 * Waits for the API server as long as it must: a CA that nobody else has would cut its pods off from all others.
 * Rejects with StateError when the Secret's root is broken or of another trust domain.
 */
export async function openShared(deps: CaSecretDeps, options: AuthorityOptions): Promise<Authority> {
  const { namespace, name, clock, logger } = deps;
  for (;;) {
    try {
      const authority = await tryOnce(deps, options);
      if (authority !== null) return authority;
    } catch (error) {
      if ((error as Error).name !== "KubeError") throw error;
      const { status, message } = asKubeError(error);
      const hint = status === 404 ? "; the chart makes it" : "";
      logger.warn("the CA's Secret cannot be read or written", { secret: `${namespace}/${name}`, status, error: `${message}${hint}` });
    }
    await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
  }
}

/** Null: another replica wrote meanwhile. */
async function tryOnce({ client, namespace, name, logger }: CaSecretDeps, options: AuthorityOptions): Promise<Authority | null> {
  const path = objectPath(SECRETS, namespace, name);
  const secret = record((await client.request({ method: "GET", path })).body);
  const data = record(secret["data"]);
  const stored = Buffer.from(text(data[ROOT]), "base64").toString("utf8");
  const folder = join(options.stateDir, "ca");
  if (stored !== "") {
    takeRoot(options.stateDir, folder, stored);
    return Authority.open(options);
  }
  const authority = await Authority.open(options);
  const root = readFileSync(join(folder, ROOT)).toString("base64");
  try {
    // With the version that was read.
    await client.request({ method: "PUT", path, body: { ...secret, data: { ...data, [ROOT]: root } } });
  } catch (error) {
    if (asKubeError(error).status !== 409) throw error;
    // Nobody has seen this root.
    rmSync(folder, { recursive: true, force: true });
    return null;
  }
  logger.info("this replica made the root of the mesh", { secret: `${namespace}/${name}` });
  return authority;
}

/** Makes the Secret's root the folder's. An issuer under another root goes. */
function takeRoot(stateDir: string, folder: string, stored: string): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, ROOT);
  const present = lstatSync(file, { throwIfNoEntry: false }) === undefined ? "" : readFileSync(file, "utf8");
  if (present === stored) return;
  rmSync(join(folder, "issuer.pem"), { force: true });
  writeAtomically(file, stored, 0o600);
}
