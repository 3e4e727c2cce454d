import { Command, Option } from "commander";
import { bindToParent } from "./parent.ts";

interface Flags {
  readonly state: string;
  readonly address: string;
  readonly logLevel: string;
}

export function operatorCommand(): Command {
  return new Command("operator")
    .description("the control plane: plans what every proxy needs, issues certificates, writes status (a run starts it by itself)")
    .requiredOption("--standalone", "beside a run; in a cluster comes later")
    .requiredOption("--state <dir>", "state folder of the run")
    .requiredOption("--address <ip>", "address to listen on")
    .addOption(new Option("--log-level <level>", "how much to log").choices(["error", "warn", "info", "debug"]).default("info"))
    .action(async ({ state, address, logLevel }: Flags) => {
      bindToParent();
      // Loaded here only: the other verbs start in half the time without it.
      const { runOperator } = await import("#operator/main.ts");
      process.exit(await runOperator(["--standalone", "--state", state, "--address", address, "--log-level", logLevel]));
    });
}
