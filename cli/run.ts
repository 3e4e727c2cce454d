import path from "node:path";
import { Command, Option } from "commander";
import { runFolder } from "#standalone/run.ts";
import { SystemClock } from "#runtime/clock.ts";
import { bindToParent } from "./parent.ts";
import { BUNDLED, PACKAGE_ROOT } from "./state.ts";

interface Flags {
  readonly state?: string;
  readonly watch: boolean;
  readonly output: "text" | "json";
  readonly logLevel: "error" | "warn" | "info" | "debug";
}

export function runCommand(): Command {
  return new Command("run")
    .description("run a folder of manifests on this machine: each pod's containers as processes, each pod with its sidecar")
    .argument("<dir>", "folder with *.yaml and *.yml (sub-folders are not read)")
    .addOption(new Option("--state <dir>", "folder for keys, logs and the control socket (default: DIR/.weft)").env("WEFT_STATE"))
    .option("--watch", "take changes of the files while running", true)
    .option("--no-watch", "read the files once")
    .addOption(new Option("-o, --output <format>", "text, or one JSON event a line").choices(["text", "json"]).default("text"))
    .addOption(new Option("--log-level <level>", "of the sidecars").choices(["error", "warn", "info", "debug"]).default("info"))
    .action(async (dir: string, flags: Flags) => {
      bindToParent();
      const live = flags.output === "text" && process.stdout.isTTY === true;
      const colour = live && process.stderr.isTTY === true && (process.env["NO_COLOR"] ?? "") === "";
      const terminal = {
        out: (text: string) => void process.stdout.write(text),
        err: (text: string) => void process.stderr.write(text),
        live,
        colour,
        width: () => process.stdout.columns ?? 0,
      };
      const entry = BUNDLED ? { weft: "dist/weft.js", proxy: "dist/proxy.js" } : { weft: "cli/main.ts", proxy: "cli/proxy-main.ts" };
      const inPackage = (file: string): string => path.join(PACKAGE_ROOT, file);
      const options = {
        folder: dir,
        state: flags.state ?? path.join(dir, ".weft"),
        command: ownCommand(),
        watch: flags.watch,
        json: flags.output === "json",
        logLevel: flags.logLevel,
        inherited: inheritedEnvironment(),
        files: {
          node: process.execPath,
          weft: inPackage(entry.weft),
          proxy: inPackage(entry.proxy),
          launch: inPackage("bin/launch.js"),
          sweep: inPackage("bin/sweep.js"),
          cwd: PACKAGE_ROOT,
        },
      };
      process.exitCode = await runFolder(options, terminal, new SystemClock(), untilAsked());
      // Sockets of probes and scrapes may still be open; nothing of them matters now.
      process.exit();
    });
}

/** As the user can type it from here. */
function ownCommand(): string {
  if (PACKAGE_ROOT.includes(`${path.sep}node_modules${path.sep}`)) return "npx weft";
  const script = path.join(PACKAGE_ROOT, "bin", "weft.js");
  const near = path.relative(process.cwd(), script);
  return near.startsWith("..") ? script : near;
}

/** What apps inherit: our environment, with the pinned Node first on the PATH, as `node` in an image would be. */
function inheritedEnvironment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) if (value !== undefined) env[name] = value;
  env["PATH"] = `${path.dirname(process.execPath)}:${env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"}`;
  return env;
}

/** Resolves at the first wish to end, with its name. A second Ctrl-C a second later ends at once: the watchdog sweeps up. */
function untilAsked(): Promise<string> {
  return new Promise((resolve) => {
    let firstMs: number | null = null;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (firstMs !== null && performance.now() - firstMs > 1000) process.exit(1);
        firstMs ??= performance.now();
        resolve(signal);
      });
    }
    // Nobody reads any more: `weft run … | head`.
    process.stdout.on("error", () => resolve("stdout is closed"));
    process.stderr.on("error", () => resolve("stderr is closed"));
  });
}
