#!/usr/bin/env node
// Plain JavaScript for any Node from 18 on: finds the pinned Node and hands over to it.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fs.realpathSync(fileURLToPath(import.meta.url))), "..");
const MAJOR = 26;

// The package `node-<platform>-<arch>` carries the binary. Installed as a dependency of others, it lies further up.
function pinnedNode() {
  const name = `node-${process.platform}-${process.arch}`;
  for (let folder = root; ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, "node_modules", name, "bin", "node");
    if (fs.existsSync(candidate)) return candidate;
    if (folder === path.dirname(folder)) break;
  }
  return Number(process.versions.node.split(".")[0]) >= MAJOR ? process.execPath : null;
}

const node = pinnedNode();
if (node === null) {
  process.stderr.write(
    `weft needs Node ${MAJOR}, and this is ${process.versions.node}. Run \`npm install\` in ${root} (it brings node-${process.platform}-${process.arch}; ` +
      `not with --omit=optional), or start weft with Node ${MAJOR} or newer\n`,
  );
  process.exit(1);
}

const args = process.argv.slice(2);
const isProxy = args[0] === "proxy" || args[0] === "proxy-init";
const bundle = path.join(root, "dist", isProxy ? "proxy.js" : "weft.js");
const script = fs.existsSync(bundle) ? bundle : path.join(root, "cli", isProxy ? "proxy-main.ts" : "main.ts");
// node:ffi is experimental in the pinned Node; that is no news to the user.
const argv = ["--disable-warning=ExperimentalWarning", script, ...args];

if (typeof process.execve === "function" && process.platform !== "win32") {
  // Becomes it: no process of ours stays in between. Node ignores SIGPIPE itself, so nothing is inherited wrongly.
  process.removeAllListeners("warning");
  process.on("warning", () => {});
  process.execve(node, [node, ...argv], process.env);
}

// An older Node cannot become another program: it stays, forwards signals, and its end is the child's end.
const child = spawn(node, argv, { stdio: "inherit", env: { ...process.env, WEFT_PARENT_PID: String(process.pid) } });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2", "SIGWINCH"]) {
  process.on(signal, () => {
    // Ctrl-C reaches the child by itself: the terminal signals the whole group. A second one is taken as the first.
    child.kill(signal);
  });
}
child.on("error", (error) => {
  process.stderr.write(`weft: ${node} does not start: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + (os.constants.signals[signal] ?? 0)));
