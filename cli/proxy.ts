import { Command } from "commander";

/** For the list of verbs: bin/weft.js goes to `proxy-main.ts` directly, without this command line. */
export function proxyCommand(): Command {
  return new Command("proxy")
    .description("the data plane of one pod (a run or an injected pod starts it by itself)")
    .requiredOption("--bootstrap <file>", "what the proxy must be told at birth, JSON")
    .action(async () => {
      await import("./proxy-main.ts");
    });
}
