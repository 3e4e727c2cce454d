import path from "node:path";
import { SystemClock } from "#runtime/clock.ts";
import { runFolder } from "../run.ts";

// The runner with fake operator and sidecars: `node run-fakes.ts DIR`. Events go to stdout as JSON.
const [folder = "."] = process.argv.slice(2);
const here = import.meta.dirname;
const bin = path.resolve(here, "../../bin");
const terminal = { out: (t: string) => void process.stdout.write(t), err: (t: string) => void process.stderr.write(t), live: false, colour: false, width: () => 0 };
const stopped = new Promise<string>((resolve) => {
  process.once("SIGTERM", () => resolve("SIGTERM"));
  process.once("SIGINT", () => resolve("SIGINT"));
});
const files = {
  node: process.execPath,
  weft: path.join(here, "fake-operator.js"),
  proxy: path.join(here, "fake-sidecar.js"),
  launch: path.join(bin, "launch.js"),
  sweep: path.join(bin, "sweep.js"),
  cwd: here,
};
const inherited = { PATH: `${path.dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin` };
process.exit(await runFolder({ folder, state: path.join(folder, ".weft"), command: "weft", watch: true, json: true, logLevel: "info", inherited, files }, terminal, new SystemClock(), stopped));
