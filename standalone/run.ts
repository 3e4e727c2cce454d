import { randomBytes, randomUUID } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ProxyBootstrap } from "#api/bootstrap.ts";
import type { Clock } from "#api/clock.ts";
import { describe } from "#api/errors.ts";
import { AddressPool } from "./addresses.ts";
import { CONTROL_SOCKET } from "./client.ts";
import { type ControlActions, ControlServer } from "./control.ts";
import type { Report } from "./events.ts";
import { ManifestFolder } from "./folder.ts";
import { hints } from "./hints.ts";
import { acquireRange, acquireState, type Lock } from "./lock.ts";
import { OperatorProcess } from "./operator-process.ts";
import { JsonOutput, type Terminal, TextOutput } from "./output.ts";
import { type ProgramFiles, programs } from "./programs.ts";
import { controlActions } from "./run-actions.ts";
import { RunMonitor } from "./monitor.ts";
import { Scraper } from "./scrape.ts";
import { StatusWatch } from "./status-watch.ts";
import { ObjectStore } from "./store.ts";
import { Supervisor } from "./supervisor.ts";
import { TokenBook } from "./tokens.ts";
import { FolderWatch } from "./watch.ts";
import { startWatchdog } from "./watchdog.ts";

/** From the wish to stop to the SIGKILL of what has not ended, milliseconds: nothing may be left after 2 s. */
const STOP_GRACE_MS = 1200;
/** Longest path of a unix socket that every system takes, bytes. */
const SOCKET_PATH_MAX = 100;

export interface RunOptions {
  /** Folder of manifests, as the user wrote it. */
  readonly folder: string;
  /** Folder of the run's own files; made when it is not there. */
  readonly state: string;
  /** How the user can call this program, for hints: "bin/weft.js" in a checkout. */
  readonly command: string;
  readonly watch: boolean;
  readonly json: boolean;
  readonly logLevel: ProxyBootstrap["logLevel"];
  readonly inherited: Readonly<Record<string, string>>;
  readonly files: ProgramFiles & { readonly sweep: string };
}

/**
 * Runs a folder of manifests until `stopped` resolves with a reason. The number is the exit code: 1 when it could
 * not start, which is then said on the terminal.
 */
export async function runFolder(options: RunOptions, terminal: Terminal, clock: Clock, stopped: Promise<string>): Promise<number> {
  const output = options.json ? new JsonOutput(terminal, () => clock.wallMs()) : new TextOutput(terminal);
  const report: Report = (event) => output.event(event);
  const fail = (code: Parameters<typeof describe>[0], detail: string): number => {
    terminal.err(`${describe(code, detail)}\n`);
    return 1;
  };
  if (!fs.statSync(options.folder, { throwIfNoEntry: false })?.isDirectory())
    return fail("WEFT_BAD_MANIFEST", `there is no folder ${options.folder}`);
  const manifests = new ManifestFolder(options.folder);
  const first = manifests.look(true);
  for (const problem of first.problems) report({ type: "problem", problem });
  if (first.kept.length > 0) return fail("WEFT_BAD_MANIFEST", "nothing was started because of the problems above");
  if (first.objects.length === 0)
    return fail("WEFT_BAD_MANIFEST", `there is no manifest in ${options.folder} (*.yaml, *.yml; sub-folders are not read)`);

  const places = await takePlaces(options.state);
  if (typeof places === "string") return fail("WEFT_RUN_BUSY", places);
  const { state, socketFolder, range } = places;
  const runId = randomUUID();
  startWatchdog(options.files.node, options.files.sweep, runId, socketFolder);

  const store = new ObjectStore(clock, randomUUID);
  const tokens = new TokenBook(clock, () => randomBytes(32).toString("base64url"));
  const pool = new AddressPool(range);
  const processes = programs(options.files, runId, process.pid, options.inherited["PATH"] ?? "");
  const bundlePath = path.join(state, "operator", "bundle.pem");
  const supervisor = new Supervisor(
    { state, socketFolder, root: options.folder, inherited: options.inherited, logLevel: options.logLevel, bundlePath },
    { clock, store, pool, tokens, programs: processes, report, locate: (...field) => manifests.locate(...field) },
  );
  const operator = new OperatorProcess(state, pool.operator, processes, clock, report);
  const scraper = new Scraper(clock, () => supervisor.pods());
  const statuses = new StatusWatch(manifests, (ref) => store.get(ref.kind, ref.namespace, ref.name), report);
  const actions: ControlActions = controlActions({
    clock,
    report,
    supervisor,
    operator,
    scraper,
    statuses,
    bundlePath,
    folder: options.folder,
    range: pool.cidr,
  });
  const server = new ControlServer(store, tokens, actions);
  await server.listen(path.join(socketFolder, CONTROL_SOCKET));
  linkSocket(state, socketFolder);

  report({ type: "starting", folder: options.folder, state: options.state, range: pool.cidr });
  supervisor.setManifests(first.objects);
  operator.whenReady(() => supervisor.launch());
  operator.start();
  const watch = options.watch
    ? new FolderWatch(options.folder, clock, (confirmed) => lookAgain(manifests, confirmed, supervisor, report))
    : null;
  const monitor = new RunMonitor({
    clock,
    scraper,
    report,
    everyMs: terminal.live ? 1000 : 10_000,
    onFirst: () => output.print(hints(options, manifests, store)),
  });
  monitor.start();

  const why = await stopped;
  monitor.stop();
  watch?.close();
  output.end();
  report({ type: "stopping", why });
  await Promise.all([operator.stop(STOP_GRACE_MS), supervisor.stopAll(STOP_GRACE_MS)]);
  server.close();
  fs.rmSync(path.join(state, CONTROL_SOCKET), { force: true });
  fs.rmSync(socketFolder, { recursive: true, force: true });
  report({ type: "stopped" });
  for (const lock of places.locks) lock.release();
  return 0;
}

/** One look at the folder while the run goes on; a folder that cannot be read changes nothing. */
function lookAgain(manifests: ManifestFolder, confirmed: boolean, supervisor: Supervisor, report: Report): { vanished: boolean } {
  try {
    const { applied, kept, problems, objects, vanished } = manifests.look(confirmed);
    const changed = applied.length > 0 ? supervisor.setManifests(objects) : 0;
    for (const problem of problems) report({ type: "problem", problem });
    if (applied.length > 0) report({ type: "applied", files: applied, changed });
    if (kept.length > 0) report({ type: "kept", files: kept });
    return { vanished };
  } catch {
    return { vanished: false };
  }
}

interface Places {
  readonly state: string;
  readonly socketFolder: string;
  readonly range: number;
  readonly locks: readonly Lock[];
}

/** State folder, socket folder and address range, each ours alone; a string says what another run holds. */
async function takePlaces(wanted: string): Promise<Places | string> {
  fs.mkdirSync(wanted, { recursive: true, mode: 0o700 });
  fs.chmodSync(wanted, 0o700);
  const state = fs.realpathSync(wanted);
  const stateLock = await acquireState(state);
  if (stateLock === null) return `another run uses the state folder ${wanted}`;
  const taken = await acquireRange();
  if (taken === null) return "all 16 address ranges of 127.77.0.0/16 are in use by other runs";
  // Of an earlier run: pods, their keys and sockets mean nothing any more. The operator's state stays: its CA.
  for (const stale of ["pods", "run"]) fs.rmSync(path.join(state, stale), { recursive: true, force: true });
  fs.rmSync(path.join(state, CONTROL_SOCKET), { force: true });
  const inState = path.join(state, "run");
  const short = Buffer.byteLength(path.join(inState, "p0000.sock")) <= SOCKET_PATH_MAX;
  if (short) fs.mkdirSync(inState, { mode: 0o700 });
  return {
    state,
    socketFolder: short ? inState : fs.mkdtempSync(path.join(os.tmpdir(), "weft-")),
    range: taken.range,
    locks: [stateLock, taken.lock],
  };
}

/** The control socket is found by its place in the state folder, wherever it lies: the system takes short paths only. */
function linkSocket(state: string, socketFolder: string): void {
  fs.symlinkSync(path.join(socketFolder, CONTROL_SOCKET), path.join(state, CONTROL_SOCKET));
}
