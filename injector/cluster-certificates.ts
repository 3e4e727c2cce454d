import type { Clock } from "#api/clock.ts";
import type { KubeRequest, KubeResponse } from "#kube/client.ts";
import { asKubeError } from "#kube/kube-error.ts";
import type { Logger } from "#runtime/logger.ts";
import { type CertificateSource, readPair, type ServingCertificate } from "./certificates.ts";
import { list, record, text } from "./pod.ts";
import { renewed, type WebhookKeys } from "./webhook-authority.ts";

/** Owner of `caBundle` in our webhook configurations, and of nothing else; the chart owns all other fields. */
export const FIELD_MANAGER = "weft-injector";

const LOOK_MS = 30_000;
/** After a failure, or when another replica was faster. */
const AGAIN_MS = 2_000;
const GROUP = "admissionregistration.k8s.io/v1";
const CONFIGURATIONS = [
  { kind: "MutatingWebhookConfiguration", plural: "mutatingwebhookconfigurations" },
  { kind: "ValidatingWebhookConfiguration", plural: "validatingwebhookconfigurations" },
] as const;
const FIELDS: Readonly<Record<keyof WebhookKeys, string>> = { caCert: "ca.crt", caKey: "ca.key", cert: "tls.crt", key: "tls.key" };

export interface ClusterCertificatesOptions {
  readonly client: { request(request: KubeRequest): Promise<KubeResponse> };
  readonly clock: Clock;
  readonly randomBytes: (n: number) => Uint8Array;
  readonly logger: Logger;
  readonly namespace: string;
  /** The Secret that the replicas share; the chart creates it empty and deletes it. */
  readonly secret: string;
  /** Name of both webhook configurations. */
  readonly webhooks: string;
  /** As API servers call us. */
  readonly dnsNames: readonly string[];
}

/**
 * Makes the serving certificate and tells the API server whom to trust. All replicas do the same: the Secret is written
 * with the version that was read, so of two that start together one wins and the other takes what that wrote. The
 * caBundle is applied server-side and looked at every 30 s: whoever applies the chart anew does not cut the webhooks off.
 */
export class ClusterCertificates implements CertificateSource {
  readonly #options: ClusterCertificatesOptions;
  #cancel: () => void = () => {};
  #closed = false;
  #serving = "";
  #problem = "";

  constructor(options: ClusterCertificatesOptions) {
    this.#options = options;
  }

  start(onCertificate: (certificate: ServingCertificate) => void, onRefused: (why: string) => void): void {
    const look = async (): Promise<void> => {
      const again = await this.#look(onCertificate).then(
        (settled) => {
          this.#problem = "";
          return settled ? LOOK_MS : AGAIN_MS;
        },
        (error: unknown) => {
          const problem = asKubeError(error).message;
          if (problem !== this.#problem && !this.#closed) onRefused(problem);
          this.#problem = problem;
          return AGAIN_MS;
        },
      );
      if (!this.#closed) this.#cancel = this.#options.clock.after(again, () => void look());
    };
    void look();
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  /** False: another replica wrote meanwhile, look again. */
  async #look(onCertificate: (certificate: ServingCertificate) => void): Promise<boolean> {
    const { client, namespace, secret, dnsNames, clock, randomBytes, logger } = this.#options;
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(secret)}`;
    const found = record((await client.request({ method: "GET", path })).body);
    const present = readKeys(record(found["data"]));
    const keys = renewed(present, dnsNames, clock.wallMs(), randomBytes);
    if (keys !== present) {
      logger.info("writing a new serving certificate", { secret: `${namespace}/${secret}` });
      if (!(await this.#write(path, { ...found, data: { ...record(found["data"]), ...writeKeys(keys) } }))) return false;
    }
    const pair = readPair(keys.cert, keys.key);
    if ("problem" in pair) throw new Error(pair.problem);
    if (this.#closed) return true;
    if (this.#serving !== keys.cert) onCertificate(pair);
    this.#serving = keys.cert;
    for (const configuration of CONFIGURATIONS) await this.#tell(configuration, keys.caCert);
    return true;
  }

  async #write(path: string, body: unknown): Promise<boolean> {
    try {
      await this.#options.client.request({ method: "PUT", path, query: { fieldManager: FIELD_MANAGER }, body });
      return true;
    } catch (error) {
      if (asKubeError(error).status === 409) return false;
      throw error;
    }
  }

  /** Applies the caBundle to every webhook of the configuration that has another. */
  async #tell({ kind, plural }: (typeof CONFIGURATIONS)[number], caCert: string): Promise<void> {
    const { client, webhooks: name, logger } = this.#options;
    const path = `/apis/${GROUP}/${plural}/${encodeURIComponent(name)}`;
    const caBundle = Buffer.from(caCert).toString("base64");
    const present = list(record((await client.request({ method: "GET", path })).body)["webhooks"]).map(record);
    if (present.every((webhook) => record(webhook["clientConfig"])["caBundle"] === caBundle)) return;
    const webhooks = present.map((webhook) => ({ name: text(webhook["name"]), clientConfig: { caBundle } }));
    await client.request({
      method: "PATCH",
      path,
      query: { fieldManager: FIELD_MANAGER, force: "true" },
      body: { apiVersion: GROUP, kind, metadata: { name }, webhooks },
      contentType: "application/apply-patch+yaml",
    });
    logger.info("caBundle written", { kind, name });
  }
}

/** Null when one is missing: then all are made anew. */
function readKeys(data: Readonly<Record<string, unknown>>): WebhookKeys | null {
  const read = (field: keyof WebhookKeys): string => Buffer.from(text(data[FIELDS[field]]), "base64").toString("utf8");
  const keys = { caCert: read("caCert"), caKey: read("caKey"), cert: read("cert"), key: read("key") };
  return Object.values(keys).includes("") ? null : keys;
}

function writeKeys(keys: WebhookKeys): Record<string, string> {
  return Object.fromEntries(
    Object.entries(FIELDS).map(([field, name]) => [name, Buffer.from(keys[field as keyof WebhookKeys]).toString("base64")]),
  );
}
