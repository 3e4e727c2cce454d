import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { delimiter, join } from "node:path";
import type { Clock } from "#api/clock.ts";
import { KubeClient } from "#kube/client.ts";
import { Credentials } from "#kube/credentials.ts";
import { AccessError, type ClusterAccess, inClusterAccess, kubeconfigAccess, SERVICE_ACCOUNT_DIR } from "#kube/kubeconfig.ts";
import { Election } from "#kube/lease.ts";
import { KUBE_METRICS } from "#kube/metrics.ts";
import { KubeSource } from "#kube/source.ts";
import { KubeStatusWriter } from "#kube/status.ts";
import { TokenReviewer } from "#kube/token-review.ts";
import { WorkQueue } from "#kube/work-queue.ts";
import { createLogger, type LogLevel } from "#runtime/logger.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import { runOperator } from "../main.ts";
import { OPERATOR_METRICS } from "../operator.ts";
import { openShared } from "./ca-secret.ts";
import { LeaderStatusWriter } from "./leader-status.ts";
import { writeTrustBundle } from "./trust-config-map.ts";

export interface KubeOperatorSettings {
  /** A kubeconfig, and of it a context ("": the current one); null: of the pod that this runs in, or else of the user's kubeconfig. */
  readonly kubeconfig: { readonly file: string; readonly context: string } | null;
  /** Where Lease, Secret and ConfigMap are; "": the access's own. */
  readonly namespace: string;
  readonly caSecret: string;
  readonly trustConfigMap: string;
  readonly clock: Clock;
  readonly state: string;
  readonly address: string;
  readonly logLevel: LogLevel;
}

const LEASE = "weft-operator";
/** The ConfigMap is looked at this often, milliseconds: whoever emptied it would keep new pods from starting. */
const LOOK_MS = 60_000;

/** The operator in a cluster. Resolves with the exit code. Rejects with AccessError when there is no way to the API server. */
export async function runKubeOperator(settings: KubeOperatorSettings): Promise<number> {
  const { clock, state, address, logLevel, caSecret, trustConfigMap } = settings;
  const access = accessOf(settings.kubeconfig);
  const namespace = settings.namespace || access.namespace;
  const logger = createLogger((line) => process.stderr.write(line), clock, logLevel, { part: "operator" });
  const metrics = new MetricsRegistry([...OPERATOR_METRICS, ...KUBE_METRICS]);
  const client = new KubeClient(access, new Credentials(access, clock, process.env), clock);
  const shared = { client, clock, random: Math.random, logger, metrics };
  let bundlePem = "";
  const bundle = new WorkQueue({
    ...shared,
    name: "trust bundle",
    concurrency: 1,
    work: async (name) => {
      if (bundlePem === "" || !election.leads()) return;
      await writeTrustBundle(client, namespace, name, bundlePem);
      bundle.addAfter(name, LOOK_MS);
    },
  });
  const source = new KubeSource(shared);
  const writer = new KubeStatusWriter(client, (ref) => source.get(ref));
  const statusWriter = new LeaderStatusWriter({ ...shared, writer, leads: () => election.leads() });
  const election = new Election({
    ...shared,
    namespace,
    name: LEASE,
    identity: `${process.env["POD_NAME"] || hostname()}_${randomBytes(6).toString("hex")}`,
    onLeading: (leading) => {
      if (!leading) return;
      statusWriter.flush();
      bundle.add(trustConfigMap);
    },
  });
  election.start();
  logger.info("the API server", { server: access.server, namespace });
  const code = await runOperator({
    source,
    statusWriter,
    attestor: new TokenReviewer(client),
    clock,
    state,
    address,
    logLevel,
    metrics,
    openAuthority: async (options) => {
      const authority = await openShared({ client, namespace, name: caSecret, clock, logger }, options);
      bundlePem = readFileSync(join(options.stateDir, "bundle.pem"), "utf8");
      bundle.add(trustConfigMap);
      return authority;
    },
    beforeStop: async () => {
      await Promise.all([bundle.stop(), statusWriter.stop()]);
      await election.stop();
    },
  });
  client.close();
  return code;
}

function accessOf(kubeconfig: KubeOperatorSettings["kubeconfig"]): ClusterAccess {
  if (kubeconfig !== null) return kubeconfigAccess([read(kubeconfig.file)], kubeconfig.context);
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port, KUBECONFIG } = process.env;
  if (host !== undefined) return inClusterAccess(host, port, read(join(SERVICE_ACCOUNT_DIR, "namespace")).text);
  const files = (KUBECONFIG ?? "").split(delimiter).filter((file) => file !== "");
  return kubeconfigAccess((files.length > 0 ? files : [join(homedir(), ".kube", "config")]).map(read));
}

function read(path: string): { readonly path: string; readonly text: string } {
  try {
    return { path, text: readFileSync(path, "utf8") };
  } catch (error) {
    throw new AccessError(`${path} cannot be read: ${(error as Error).message}`);
  }
}
