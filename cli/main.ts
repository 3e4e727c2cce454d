import { Command, CommanderError } from "commander";
import { getCommand } from "./get.ts";
import { identityCommand } from "./identity.ts";
import { injectCommand } from "./inject.ts";
import { injectorCommand } from "./injector.ts";
import { operatorCommand } from "./operator.ts";
import { startCommand, stopCommand } from "./hold.ts";
import { proxyCommand } from "./proxy.ts";
import { runCommand } from "./run.ts";
import { failureText } from "./failure.ts";
import { version, versionCommand } from "./version.ts";

const program = new Command("weft")
  .description("A service mesh for Kubernetes, and for one machine without it.")
  .version(version(), "-V, --version", "print the version")
  .showHelpAfterError("(run `weft --help`, or `weft VERB --help`)")
  .showSuggestionAfterError()
  .exitOverride()
  .addHelpText(
    "after",
    `
Examples:
  weft run examples/shop             run a folder of manifests on this machine
  weft get trafficpolicies           what was accepted, and why not
  weft get edges                     who calls whom, how fast, with which identity
  weft stop operator                 hold the operator down; requests go on

Exit codes: 0 done, 1 failed, 2 wrong usage. Data goes to stdout, all else to stderr.`,
  );

for (const command of [runCommand(), getCommand(), stopCommand(), startCommand(), identityCommand(), injectCommand(), versionCommand()])
  program.addCommand(command);
for (const command of [operatorCommand(), injectorCommand(), proxyCommand()]) program.addCommand(command, { hidden: false });
// Sub-commands do not inherit it: without it commander would exit by itself, with 1 for wrong usage.
const strict = (command: Command): void => {
  command.exitOverride().showHelpAfterError("(run with --help for what it takes)");
  for (const inner of command.commands) strict(inner);
};
for (const command of program.commands) strict(command);

try {
  await program.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`${failureText(error)}\n`);
    process.exitCode = 1;
  }
}
