import { spawn } from "node:child_process";

/**
 * A shell that waits for the runner's end of a pipe to close, however the runner ends, and then sweeps what the
 * run left behind. It costs a megabyte; a session of its own keeps Ctrl-C from it. The kernel's parent-death
 * signal takes the runner's own children; this takes their children too, also those that moved to other sessions.
 */
export function startWatchdog(node: string, sweep: string, runId: string, socketFolder: string): void {
  const script = 'while read -r line; do :; done; exec "$0" "$@"';
  const child = spawn("/bin/sh", ["-c", script, node, sweep, runId, socketFolder], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    env: {},
  });
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  child.unref();
}
