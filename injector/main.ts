import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "#api/clock.ts";
import { KubeClient } from "#kube/client.ts";
import { Credentials } from "#kube/credentials.ts";
import { type ClusterAccess, inClusterAccess, kubeconfigAccess, SERVICE_ACCOUNT_DIR } from "#kube/kubeconfig.ts";
import { createLogger, type Logger, type LogLevel } from "#runtime/logger.ts";
import { MetricsRegistry, startAdminServer } from "#runtime/metrics-server.ts";
import { Shutdown } from "#runtime/shutdown.ts";
import { CertificateFiles, type CertificateSource } from "./certificates.ts";
import { ClusterCertificates } from "./cluster-certificates.ts";
import { record, text } from "./pod.ts";
import { INJECTOR_METRICS, WebhookServer } from "./server.ts";
import type { InjectionSettings } from "./settings.ts";
import { TrustBundle, type TrustBundleOptions } from "./trust-bundle.ts";

/** Until every node's Service rules and every idle connection of an API server have left this replica. */
const DRAIN_MS = 5_000;
const STOP_STEP_MS = 2_000;

/** A folder with tls.crt and tls.key, whose owner also sees to the webhooks' caBundle; or a Secret, and we see to both. */
export type TlsSettings =
  | { readonly dir: string }
  /** `service`: name of our Service and of both webhook configurations. */
  | { readonly secret: string; readonly service: string };

export interface InjectorSettings {
  readonly clock: Clock;
  /** Where the webhooks listen, and the port of metrics and probes beside them; 0: any free port. */
  readonly listen: { readonly address: string; readonly port: number; readonly adminPort: number };
  readonly tls: TlsSettings;
  /** Where the PEM roots are that new pods are to trust: a file, or key bundle.pem of a ConfigMap of our namespace. */
  readonly trustBundle: { readonly file: string } | { readonly configMap: string };
  /** How to reach the API server, where one is needed; null: as a pod does. */
  readonly kubeconfig: string | null;
  readonly injection: Omit<InjectionSettings, "trustBundlePem">;
  readonly logLevel: LogLevel;
  /** Zero: stops at once. */
  readonly drainMs?: number;
}

/** The injector as a process. Resolves with the exit code: 0 after SIGTERM or SIGINT, 1 when it cannot listen. */
export async function runInjector(settings: InjectorSettings): Promise<number> {
  const { clock, listen, injection, logLevel, drainMs = DRAIN_MS } = settings;
  const logger = createLogger((line) => process.stderr.write(line), clock, logLevel, { part: "injector" });
  const metrics = new MetricsRegistry(INJECTOR_METRICS);
  const cluster = needsCluster(settings) ? await connect(settings.kubeconfig, clock) : null;
  const bundle = new TrustBundle({ ...bundleSource(settings.trustBundle, cluster), clock, logger });
  const certificates = certificateSource(settings.tls, cluster, clock, logger);
  const webhooks = new WebhookServer({
    address: listen.address,
    port: listen.port,
    certificates,
    settings: () => (bundle.pem === null ? null : { ...injection, trustBundlePem: bundle.pem }),
    systemNamespace: injection.systemNamespace,
    metrics,
    clock,
    logger,
  });
  const shutdown = new Shutdown(clock, logger);
  let listening = false;
  const notReady = (): string | null => webhooks.notReady() ?? bundle.notReady() ?? (listening ? null : "not listening yet");
  const stopped = new Promise<number>((resolve) => {
    const stop = (signal: string): void => {
      logger.info("stopping", { signal });
      webhooks.drain();
      clock.after(drainMs, () => void shutdown.run().then(() => resolve(0)));
    };
    process.once("SIGTERM", () => stop("SIGTERM"));
    process.once("SIGINT", () => stop("SIGINT"));
  });
  try {
    const admin = await startAdminServer({ address: listen.address, port: listen.adminPort, metrics, notReady, logger });
    shutdown.add("admin", STOP_STEP_MS, () => admin.close());
    await bundle.start();
    shutdown.add("trust bundle", STOP_STEP_MS, () => bundle.close());
    shutdown.add("webhooks", STOP_STEP_MS, () => webhooks.close());
    // Before the first certificate it does not listen, and may be told to stop.
    const started = webhooks.start().then(() => {
      listening = true;
      logger.info("ready", { address: listen.address, port: webhooks.port, adminPort: admin.port });
      return stopped;
    });
    return await Promise.race([started, stopped]);
  } catch (error) {
    logger.error("the injector cannot start", { error: (error as Error).message });
    await shutdown.run();
    return 1;
  }
}

interface Cluster {
  readonly client: KubeClient;
  /** Our own. */
  readonly namespace: string;
}

function needsCluster({ tls, trustBundle }: InjectorSettings): boolean {
  return "secret" in tls || "configMap" in trustBundle;
}

/** Throws AccessError outside a pod, and when the kubeconfig does not say enough. */
async function connect(kubeconfig: string | null, clock: Clock): Promise<Cluster> {
  const access =
    kubeconfig === null ? await podAccess() : kubeconfigAccess([{ path: kubeconfig, text: await readFile(kubeconfig, "utf8") }]);
  return { client: new KubeClient(access, new Credentials(access, clock, process.env), clock), namespace: access.namespace };
}

async function podAccess(): Promise<ClusterAccess> {
  const { KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT } = process.env;
  // Outside a pod there is no such file, and inClusterAccess says what is missing.
  const own = await readFile(join(SERVICE_ACCOUNT_DIR, "namespace"), "utf8").catch(() => "");
  return inClusterAccess(KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT, own);
}

function certificateSource(tls: TlsSettings, cluster: Cluster | null, clock: Clock, logger: Logger): CertificateSource {
  if ("dir" in tls) return new CertificateFiles(tls.dir, clock);
  const { client, namespace } = cluster!;
  const { secret, service } = tls;
  const dnsNames = [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`];
  return new ClusterCertificates({ client, clock, randomBytes, logger, namespace, secret, webhooks: service, dnsNames });
}

function bundleSource(source: InjectorSettings["trustBundle"], cluster: Cluster | null): Pick<TrustBundleOptions, "where" | "read"> {
  if ("file" in source) return { where: source.file, read: () => readFile(source.file, "utf8") };
  const { client, namespace } = cluster!;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(source.configMap)}`;
  return {
    where: `ConfigMap ${namespace}/${source.configMap}`,
    read: async () => text(record(record((await client.request({ method: "GET", path })).body)["data"])["bundle.pem"]),
  };
}
