import type { KubeClient } from "#kube/client.ts";
import { asKubeError, record } from "#kube/kube-error.ts";
import { CONFIG_MAPS, objectPath } from "#kube/resource.ts";

/** Key of the ConfigMap, as the injector reads it. */
export const BUNDLE_KEY = "bundle.pem";

/**
 * Makes the ConfigMap say these roots, which the injector writes into new pods. Nothing is written when it does already.
 * Rejects when the server refuses, or when somebody wrote meanwhile (409): look again.
 */
export async function writeTrustBundle(
  client: Pick<KubeClient, "request">,
  namespace: string,
  name: string,
  bundlePem: string,
): Promise<void> {
  const path = objectPath(CONFIG_MAPS, namespace, name);
  const found = record((await client.request({ method: "GET", path })).body);
  const data = record(found["data"]);
  if (data[BUNDLE_KEY] === bundlePem) return;
  try {
    await client.request({ method: "PUT", path, body: { ...found, data: { ...data, [BUNDLE_KEY]: bundlePem } } });
  } catch (error) {
    throw asKubeError(error).status === 409 ? new Error("the ConfigMap was changed meanwhile") : error;
  }
}
