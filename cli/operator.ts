import { Command, Option } from "commander";
import type { LogLevel } from "#runtime/logger.ts";
import { bindToParent } from "./parent.ts";

interface Flags {
  readonly state: string;
  readonly address: string;
  readonly logLevel: LogLevel;
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
      const { SystemClock } = await import("#runtime/clock.ts");
      const { StandaloneAttestor, StandaloneSource, StandaloneStatusWriter } = await import("#standalone/client.ts");
      const clock = new SystemClock();
      const source = new StandaloneSource(state, clock);
      const statusWriter = new StandaloneStatusWriter(state);
      const attestor = new StandaloneAttestor(state);
      process.exit(await runOperator({ source, statusWriter, attestor, clock, state, address, logLevel }));
    });
}
