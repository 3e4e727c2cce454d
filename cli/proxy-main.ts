import { parseArgs } from "node:util";
import { runProxy } from "#proxy/main.ts";
import { failureText } from "./failure.ts";
import { bindToParent } from "./parent.ts";

// The sidecar's own entry: no command-line library, nothing of the runner. Many of these run on one machine.
bindToParent();
try {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    options: { bootstrap: { type: "string" } },
    allowPositionals: true,
  });
  if (positionals[0] !== "proxy" || values.bootstrap === undefined) {
    process.stderr.write("usage: weft proxy --bootstrap FILE\n");
    process.exit(2);
  }
  await runProxy(values.bootstrap);
} catch (error) {
  process.stderr.write(`${failureText(error)}\n`);
  process.exit(1);
}
