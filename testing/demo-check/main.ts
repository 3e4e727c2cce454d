/**
 * `make demo-check`: runs the shop and checks what it must show, without a terminal and as an unprivileged user. When
 * root starts it, what is needed is copied to a folder of nobody's and everything below runs there as nobody.
 * ONLY=<regex> picks checks by name.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brokenInput } from "./checks/broken-input.ts";
import { everyEdge, plaintextAtEnd, plaintextSoFar } from "./checks/edges.ts";
import { interrupted, runnerKilled } from "./checks/ending.ts";
import { foreignServer, wrongServer } from "./checks/foreign.ts";
import { appKilled, bothKilled, sidecarKilled } from "./checks/kills.ts";
import { slowHttpReader, slowTcpReader } from "./checks/memory.ts";
import { operatorDown } from "./checks/operator-down.ts";
import { refused } from "./checks/refused.ts";
import { rotation } from "./checks/rotation.ts";
import { editedSplit, ninetyTen } from "./checks/split.ts";
import { firstRequest, status, stopAndStart } from "./checks/start.ts";
import { type Lane, Ledger } from "./ledger.ts";
import { processesWith } from "./processes.ts";
import { copyCheckout, usersNode } from "./stage.ts";
import { monotonicMs, seconds } from "./wait.ts";
import { World } from "./world.ts";

const NOBODY = 65_534;
/** All of it must take less. */
const TOTAL_MS = 480_000;
/** Beyond this something hangs. */
const GIVE_UP_MS = 900_000;

/** First alone: a start is measured on a machine that does nothing else. */
const OPENING: Lane = [[firstRequest]];
/** Then two runs side by side. */
const SHOP: Lane = [
  [status],
  [everyEdge],
  [foreignServer],
  [wrongServer],
  [refused],
  [ninetyTen],
  [editedSplit],
  [plaintextSoFar],
  [slowHttpReader],
  [operatorDown],
  [appKilled],
  [sidecarKilled],
  [bothKilled],
  [brokenInput, slowTcpReader],
  [stopAndStart],
  [plaintextAtEnd],
  [interrupted],
];
const ROTATING: Lane = [[rotation], [runnerKilled]];

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function picked(lane: Lane, only: RegExp): Lane {
  return lane.map((step) => step.filter(({ name }) => only.test(name))).filter((step) => step.length > 0);
}

/** Runs this file once more, as nobody, from a copy. Its exit code. */
async function asNobody(root: string): Promise<number> {
  const stage = fs.mkdtempSync(path.join(os.tmpdir(), "weft-demo-"));
  try {
    copyCheckout(root, stage, NOBODY, NOBODY);
    const script = path.join(stage, "testing", "demo-check", "main.ts");
    const node = path.join(stage, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node");
    const env = { ...process.env, HOME: stage, USER: "nobody", LOGNAME: "nobody" };
    const child = spawn(node, [script], { cwd: stage, env, uid: NOBODY, gid: NOBODY, stdio: "inherit" });
    // Ctrl-C reaches the child by itself; whatever else ends us must end it too.
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill("SIGTERM"));
    const code = await new Promise<number>((resolve) => {
      child.once("error", (error) => {
        print(error.message);
        resolve(1);
      });
      child.once("exit", (status) => resolve(status ?? 1));
    });
    return code;
  } finally {
    fs.rmSync(stage, { recursive: true, force: true });
  }
}

async function checkAll(root: string, stage: string): Promise<number> {
  const only = new RegExp(process.env["ONLY"] ?? "", "i");
  const startedMs = monotonicMs();
  const world = new World({ root, stage, usersNode: usersNode(process.env["PATH"] ?? "") });
  const ledger = new Ledger(world, print);
  const end = async (): Promise<void> => {
    await world.dispose();
    fs.rmSync(stage, { recursive: true, force: true });
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void end().then(() => process.exit(130)));
  const timer = setTimeout(() => {
    print(`FAILED  no end after ${seconds(GIVE_UP_MS)} s`);
    print(`${ledger.passed} passed, ${ledger.failed + 1} failed`);
    void end().then(() => process.exit(1));
  }, GIVE_UP_MS);
  print(`as uid ${process.getuid?.()}, in ${stage}`);
  await ledger.lane(picked(OPENING, only));
  await Promise.all([ledger.lane(picked(SHOP, only)), ledger.lane(picked(ROTATING, only))]);
  await world.dispose();
  clearTimeout(timer);
  ending(ledger, stage, monotonicMs() - startedMs);
  fs.rmSync(stage, { recursive: true, force: true });
  print(`${ledger.passed} passed, ${ledger.failed} failed`);
  return ledger.failed === 0 && ledger.passed > 0 ? 0 : 1;
}

/** The two checks of the whole. */
function ending(ledger: Ledger, stage: string, tookMs: number): void {
  const left = processesWith(`${stage}/`).filter(({ pid }) => pid !== process.ppid);
  if (left.length === 0) ledger.pass("no process is left", "none", 0);
  else ledger.fail("no process is left", left.map((p) => `${p.pid} ${p.command}`).join("\n"), 0);
  const name = `all of it took less than ${seconds(TOTAL_MS)} s`;
  if (tookMs < TOTAL_MS) ledger.pass(name, `${seconds(tookMs)} s`, tookMs);
  else ledger.fail(name, `${seconds(tookMs)} s`, tookMs);
}

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..", "..");
if (process.getuid?.() === 0) process.exitCode = await asNobody(root);
else process.exitCode = await checkAll(root, fs.mkdtempSync(path.join(os.tmpdir(), "weft-check-")));
process.exit();
