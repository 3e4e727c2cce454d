import { Command, Option } from "commander";
import type { LogLevel } from "#runtime/logger.ts";
import { UserError } from "./failure.ts";
import { bindToParent } from "./parent.ts";

interface Flags {
  readonly standalone?: true;
  readonly kubernetes?: true;
  readonly state: string;
  readonly address: string;
  readonly logLevel: LogLevel;
  readonly kubeconfig?: string;
  readonly context: string;
  readonly namespace: string;
  readonly caSecret: string;
  readonly trustConfigmap: string;
}

export function operatorCommand(): Command {
  return new Command("operator")
    .description("the control plane: plans what every proxy needs, issues certificates, writes status (a run or the chart starts it)")
    .addOption(new Option("--standalone", "beside a run").conflicts("kubernetes"))
    .option("--kubernetes", "of a cluster: in a pod of it, or with a kubeconfig")
    .requiredOption("--state <dir>", "state folder of the run or of the replica")
    .requiredOption("--address <ip>", "address to listen on")
    .option("--kubeconfig <file>", "default: the pod's own access, else $KUBECONFIG or ~/.kube/config")
    .option("--context <name>", "of the kubeconfig; default: the current one", "")
    .option("--namespace <name>", "of Lease, Secret and ConfigMap; default: the pod's", "")
    .option("--ca-secret <name>", "Secret that holds the root for all replicas", "weft-ca")
    .option("--trust-configmap <name>", "ConfigMap that tells the injector the roots", "weft-trust-bundle")
    .addOption(new Option("--log-level <level>", "how much to log").choices(["error", "warn", "info", "debug"]).default("info"))
    .action(async (flags: Flags, command: Command) => {
      if (flags.standalone === undefined && flags.kubernetes === undefined) command.error("error: say --standalone or --kubernetes");
      process.exit(await (flags.kubernetes === true ? inCluster(flags) : besideRun(flags)));
    });
}

// What each needs is loaded by it alone: the other verbs start in half the time without it.

async function besideRun({ state, address, logLevel }: Flags): Promise<number> {
  bindToParent();
  const { runOperator } = await import("#operator/main.ts");
  const { SystemClock } = await import("#runtime/clock.ts");
  const { StandaloneAttestor, StandaloneSource, StandaloneStatusWriter } = await import("#standalone/client.ts");
  const clock = new SystemClock();
  const source = new StandaloneSource(state, clock);
  const statusWriter = new StandaloneStatusWriter(state);
  const attestor = new StandaloneAttestor(state);
  return runOperator({ source, statusWriter, attestor, clock, state, address, logLevel });
}

async function inCluster(flags: Flags): Promise<number> {
  const { runKubeOperator } = await import("#operator/kube/main.ts");
  const { SystemClock } = await import("#runtime/clock.ts");
  const { state, address, logLevel, kubeconfig, context, namespace, caSecret, trustConfigmap } = flags;
  const running = runKubeOperator({
    kubeconfig: kubeconfig === undefined ? null : { file: kubeconfig, context },
    namespace,
    caSecret,
    trustConfigMap: trustConfigmap,
    clock: new SystemClock(),
    state,
    address,
    logLevel,
  });
  return running.catch((error: Error) => {
    throw error.name === "AccessError" ? new UserError(error.message) : error;
  });
}
