import { isIP } from "node:net";
import { Command, InvalidArgumentError, Option } from "commander";
import { PORTS } from "#api/ports.ts";
import { SYSTEM_NAMESPACE } from "#api/resources/object.ts";
import { isTrustDomain } from "#api/spiffe.ts";
import type { LogLevel } from "#runtime/logger.ts";
import { UserError } from "./failure.ts";

interface Flags {
  readonly tlsDir?: string;
  readonly tlsSecret?: string;
  readonly service: string;
  readonly kubeconfig?: string;
  readonly trustBundle?: string;
  readonly trustConfigmap?: string;
  readonly listen: { readonly address: string; readonly port: number };
  readonly adminPort: number;
  readonly image: string;
  readonly imagePullPolicy: "Always" | "IfNotPresent" | "Never";
  readonly operator: string;
  readonly trustDomain: string;
  readonly namespace: string;
  readonly logLevel: LogLevel;
  readonly proxyLogLevel: LogLevel;
}

const LEVELS = ["error", "warn", "info", "debug"];

export function injectorCommand(): Command {
  const command = new Command("injector")
    .description("the admission webhooks: add the sidecar to pods, refuse what would not work (a cluster starts it by itself)")
    .addOption(new Option("--tls-dir <dir>", "folder with tls.crt and tls.key; read again when they change").conflicts("tlsSecret"))
    .option("--tls-secret <name>", "in a cluster, instead: Secret of our namespace in which the replicas keep a certificate that they make")
    .addOption(
      new Option("--trust-bundle <file>", "PEM roots that pods are to trust; read again when it changes").conflicts("trustConfigmap"),
    )
    .option("--trust-configmap <name>", "in a cluster, instead: ConfigMap of our namespace with the roots as bundle.pem")
    .option("--service <name>", "with --tls-secret: our Service, and both webhook configurations", "weft-injector")
    .option("--kubeconfig <file>", "with --tls-secret or --trust-configmap; default: the pod's own access")
    .addOption(
      new Option("--listen <address:port>", "where the API server reaches the webhooks")
        .argParser(parseListen)
        .default({ address: "0.0.0.0", port: PORTS.webhook }, `0.0.0.0:${PORTS.webhook}`),
    )
    .addOption(
      new Option("--admin-port <port>", "metrics and probes, at the same address").argParser(parsePort).default(PORTS.webhookAdmin),
    )
    .addOption(new Option("--log-level <level>", "how much to log").choices(LEVELS).default("info"));
  return addSidecarOptions(command).action(async (flags: Flags, self: Command) => {
    const { tlsDir, tlsSecret, service, trustBundle, trustConfigmap } = flags;
    const tls = tlsDir !== undefined ? { dir: tlsDir } : tlsSecret !== undefined ? { secret: tlsSecret, service } : null;
    if (tls === null) return self.error("error: give --tls-dir DIR or --tls-secret NAME");
    const bundle = trustBundle !== undefined ? { file: trustBundle } : trustConfigmap !== undefined ? { configMap: trustConfigmap } : null;
    if (bundle === null) return self.error("error: give --trust-bundle FILE or --trust-configmap NAME");
    // Loaded here only: the other verbs start sooner without them.
    const { runInjector } = await import("#injector/main.ts");
    const { SystemClock } = await import("#runtime/clock.ts");
    const running = runInjector({
      clock: new SystemClock(),
      listen: { ...flags.listen, adminPort: flags.adminPort },
      tls,
      trustBundle: bundle,
      kubeconfig: flags.kubeconfig ?? null,
      logLevel: flags.logLevel,
      injection: sidecarSettings(flags),
    });
    const code = await running.catch((error: Error) => {
      throw error.name === "AccessError" ? new UserError(error.message) : error;
    });
    process.exit(code);
  });
}

type SidecarFlags = Pick<Flags, "image" | "imagePullPolicy" | "operator" | "trustDomain" | "namespace" | "proxyLogLevel">;

/** What a sidecar is made from, the same for the webhook and offline. */
export function addSidecarOptions(command: Command): Command {
  return command
    .requiredOption("--image <reference>", "image of the sidecar")
    .addOption(
      new Option("--image-pull-policy <policy>", "of the sidecar").choices(["Always", "IfNotPresent", "Never"]).default("IfNotPresent"),
    )
    .addOption(new Option("--trust-domain <domain>", "of the mesh").argParser(parseTrustDomain).default("cluster.local"))
    .addOption(new Option("--namespace <name>", "Weft's own namespace, never injected").default(SYSTEM_NAMESPACE))
    .addOption(
      new Option("--operator <host:port>", "operator as pods reach it").default(
        `weft-operator.${SYSTEM_NAMESPACE}.svc:${PORTS.operatorGrpc}`,
      ),
    )
    .addOption(new Option("--proxy-log-level <level>", "of proxies whose pod says no other").choices(LEVELS).default("info"));
}

export function sidecarSettings(flags: SidecarFlags) {
  return {
    image: flags.image,
    imagePullPolicy: flags.imagePullPolicy,
    trustDomain: flags.trustDomain,
    operatorAddress: flags.operator,
    systemNamespace: flags.namespace,
    logLevel: flags.proxyLogLevel,
  };
}

function parsePort(value: string): number {
  if (!/^[0-9]{1,5}$/.test(value) || Number(value) > 65_535)
    throw new InvalidArgumentError("a port is a number up to 65535 (0: any free one).");
  return Number(value);
}

/** "127.0.0.1:16820", "[::]:16820", or an address alone. */
function parseListen(value: string): { address: string; port: number } {
  if (isIP(value) !== 0) return { address: value, port: PORTS.webhook };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]+)$/.exec(value);
  const address = match?.[1] ?? match?.[2] ?? "";
  if (match === null || isIP(address) === 0) throw new InvalidArgumentError("write an IP address and a port: 0.0.0.0:16820 or [::]:16820.");
  return { address, port: parsePort(match[3]!) };
}

function parseTrustDomain(value: string): string {
  if (!isTrustDomain(value)) throw new InvalidArgumentError("a trust domain has a-z 0-9 . _ - and at most 100 bytes.");
  return value;
}
