import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Option } from "commander";
import { describe } from "#api/errors.ts";
import { CONTROL_SOCKET } from "#standalone/client.ts";
import { UserError } from "./failure.ts";

/** The folder of the package: this file lies in cli/ or, bundled, in dist/. */
export const PACKAGE_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
/** True when the bundle runs. */
export const BUNDLED = !import.meta.url.endsWith(".ts");

export function stateOption(): Option {
  return new Option("--state <dir>", "state folder of the run (default: ./.weft, else that of the only run of yours on this machine)").env(
    "WEFT_STATE",
  );
}

/** The folder whose control socket to use. Throws a UserError when there is no run, or more than one to choose from. */
export function findState(given: string | undefined): string {
  if (given !== undefined) return given;
  if (fs.existsSync(path.join(".weft", CONTROL_SOCKET))) return ".weft";
  const running = runningStates();
  const [only] = running;
  if (only === undefined) throw new UserError(describe("WEFT_NO_RUN"));
  if (running.length > 1) throw new UserError(`several runs are active; name one with --state: ${running.join(", ")}`);
  return only;
}

/** Folders of the control sockets that are bound on this machine and belong to this user, as the kernel lists them. */
function runningStates(): string[] {
  let table: string;
  try {
    table = fs.readFileSync("/proc/net/unix", "utf8");
  } catch {
    return [];
  }
  const folders = new Set<string>();
  for (const line of table.split("\n")) {
    const socket = /\s(\/\S.*)$/.exec(line)?.[1];
    if (socket === undefined || path.basename(socket) !== CONTROL_SOCKET || !/^(run|weft-.+)$/.test(path.basename(path.dirname(socket))))
      continue;
    const stat = fs.statSync(socket, { throwIfNoEntry: false });
    if (stat?.uid === process.getuid?.()) folders.add(stateFolderOf(path.dirname(socket)));
  }
  return [...folders].sort();
}

/** The state folder that links to this socket folder, where it lies in it: that is the name its user knows. */
function stateFolderOf(socketFolder: string): string {
  const above = path.dirname(socketFolder);
  const isLinked = fs.lstatSync(path.join(above, CONTROL_SOCKET), { throwIfNoEntry: false })?.isSymbolicLink() === true;
  return path.basename(socketFolder) === "run" && isLinked ? above : socketFolder;
}
