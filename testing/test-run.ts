import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/**
 * `make test`: the checks (each counts as one test), then jest. With `--checks` the checks alone. Ends with
 * `N passed, N failed` on a line of its own; with CI=true a skipped test counts as failed. Exits 1 when
 * anything failed or nothing ran.
 *
 * ONLY=<regex> picks: test files whose path matches it, and checks whose name does; where there is neither, tests by name.
 */

const ROOT = path.resolve(import.meta.dirname, "..");
const LEDGER = path.join(ROOT, "testing/jest-ledger.js");
const JEST = ["--experimental-vm-modules", "--disable-warning=ExperimentalWarning", "node_modules/jest/bin/jest.js"];
/** A check that hangs is a failed one, milliseconds. */
const CHECK_MS_MAX = 120_000;
/** Lines shown of a check that failed. */
const CHECK_LINES_MAX = 150;
/** All of jest, likewise. `make test` as a whole is meant to stay under five minutes. */
const JEST_MS_MAX = 12 * 60_000;

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

interface Check {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly remedy: string;
}

const CHECKS: readonly Check[] = [
  { name: "types", command: ["tsc", "--noEmit"], remedy: "mend the types" },
  { name: "lint", command: ["biome", "check", "--error-on-warnings", "."], remedy: "`make fmt` mends most of it" },
  { name: "protobuf-lint", command: ["buf", "lint"], remedy: "mend api/proto" },
  { name: "protobuf-generated", command: ["node", "testing/check-protobuf.ts"], remedy: "`make gen`" },
  { name: "charts-generated", command: ["node", "charts/generate.ts", "--check"], remedy: "`make gen`" },
  { name: "crds-generated", command: ["node", "crds/generate.ts", "--check"], remedy: "`make gen`" },
  { name: "docs-generated", command: ["node", "docs/generate.ts", "--check"], remedy: "`make gen`" },
];

let running: ChildProcess | null = null;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (running !== null) end(running);
    process.exit(130);
  });
}
process.exitCode = await main(process.argv.includes("--checks"), process.env["ONLY"] ?? "", process.env["CI"] === "true");

async function main(checksOnly: boolean, only: string, ci: boolean): Promise<number> {
  const count: Count = { passed: 0, failed: 0, skipped: 0 };
  const wanted = pattern(only);
  if (wanted === null) {
    console.log(`ONLY is no regular expression: ${only}`);
    count.failed++;
  } else {
    for (const check of CHECKS.filter((c) => only === "" || wanted.test(c.name))) await runCheck(check, count);
    if (!checksOnly) await runJest(only, wanted, count);
  }
  if (count.skipped > 0) console.log(`${count.skipped} skipped${ci ? ", counted as failed because CI=true" : ""}`);
  if (ci) count.failed += count.skipped;
  if (count.passed + count.failed + count.skipped === 0) {
    console.log(`nothing ran: no check, test file or test name matches ONLY=${only}`);
    count.failed++;
  }
  console.log(`${count.passed} passed, ${count.failed} failed`);
  return count.failed === 0 ? 0 : 1;
}

function pattern(text: string): RegExp | null {
  try {
    return new RegExp(text);
  } catch {
    return null;
  }
}

async function runCheck({ name, command, remedy }: Check, count: Count): Promise<void> {
  const startedMs = performance.now();
  const { code, output } = await run(command, { limitMs: CHECK_MS_MAX, show: false });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  if (code === 0) {
    count.passed++;
    console.log(`ok      ${name} (${seconds} s)`);
  } else {
    count.failed++;
    console.log(`FAILED  ${name} (${seconds} s): \`${command.join(" ")}\` ended with ${code}; ${remedy}\n${lastLines(output)}`);
  }
}

/** The end of what a failed check said: a formatter's complaints can be endless, and its summary stands last. */
function lastLines(output: string): string {
  const lines = output.trimEnd().split("\n");
  const left = lines.length - CHECK_LINES_MAX;
  return left <= 0 ? lines.join("\n") : `(${left} lines before these)\n${lines.slice(-CHECK_LINES_MAX).join("\n")}`;
}

/** One line of testing/jest-ledger.js. */
interface LedgerLine {
  readonly started?: string;
  readonly ended?: string;
  readonly complete?: true;
  readonly passed?: number;
  readonly failed?: number;
  readonly skipped?: number;
}

async function runJest(only: string, wanted: RegExp, count: Count): Promise<void> {
  const selection = await select(only, wanted, count);
  if (selection === null) return;
  const folder = mkdtempSync(path.join(os.tmpdir(), "weft-jest-"));
  try {
    const ledger = path.join(folder, "ledger");
    const { default: base } = (await import(path.join(ROOT, "jest.config.js"))) as { default: object };
    const config = { ...base, rootDir: ROOT, reporters: ["default", [LEDGER, { file: ledger }]] };
    const workers = Math.max(2, Math.min(8, os.availableParallelism()));
    const ci = process.env["UPDATE"] === "1" ? "--ci=false" : "--ci";
    // forceExit: a test that leaves a socket open has been told so by its own result, and must not keep the others' from being told.
    const args = ["--config", JSON.stringify(config), `--maxWorkers=${workers}`, ci, "--forceExit", "--passWithNoTests", ...selection];
    const { code } = await run(["node", ...JEST, ...args], { limitMs: JEST_MS_MAX, show: true });
    const before = count.failed;
    // When tests are picked by name, all others of their files count as skipped.
    addLedger(ledger, count, !selection.includes("--testNamePattern"));
    if (code !== 0 && count.failed === before) {
      console.log(`jest ended with ${code} though no test failed`);
      count.failed++;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Arguments that make jest run what ONLY means; null: it means checks alone. */
async function select(only: string, wanted: RegExp, count: Count): Promise<readonly string[] | null> {
  if (only === "") return [];
  const { output } = await run(["node", ...JEST, "--listTests"], { limitMs: CHECK_MS_MAX, show: false });
  const files = output
    .split("\n")
    .filter((line) => line.endsWith(".test.ts"))
    .map((line) => path.relative(ROOT, line));
  const picked = files.filter((file) => wanted.test(file));
  if (picked.length > 0) return ["--runTestsByPath", ...picked];
  return count.passed + count.failed > 0 ? null : ["--testNamePattern", only];
}

/** Counts what jest has written down; a file that was begun and never ended counts as one failed test. */
function addLedger(file: string, count: Count, countSkipped: boolean): void {
  const lines = readLines(file);
  const ended = new Set(lines.map((line) => line.ended));
  for (const { passed = 0, failed = 0, skipped = 0 } of lines) {
    count.passed += passed;
    count.failed += failed;
    if (countSkipped) count.skipped += skipped;
  }
  for (const { started } of lines) {
    if (started === undefined || ended.has(started)) continue;
    console.log(`FAILED  ${path.relative(ROOT, started)} never came to its end`);
    count.failed++;
  }
  if (lines.some((line) => line.complete === true)) return;
  console.log("FAILED  jest did not come to its end: some files may not have been run at all");
  count.failed++;
}

function readLines(file: string): LedgerLine[] {
  try {
    return readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as LedgerLine);
  } catch {
    return [];
  }
}

/** Runs one program to its end in a process group of its own; code 124 when it took longer than `limitMs`. */
function run(
  [program, ...args]: readonly [string, ...string[]],
  { limitMs, show }: { limitMs: number; show: boolean },
): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      stdio: ["ignore", show ? "inherit" : "pipe", show ? "inherit" : "pipe"],
      detached: true,
    });
    running = child;
    let output = "";
    let code: number | null = null;
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const timer = setTimeout(() => {
      code = 124;
      console.log(`took longer than ${limitMs / 1000} s and is ended: ${[program, ...args].join(" ").slice(0, 120)}`);
      end(child);
    }, limitMs);
    const done = (status: number): void => {
      clearTimeout(timer);
      running = null;
      resolve({ code: code ?? status, output });
    };
    child.once("error", (error) => {
      output += error.message;
      done(127);
    });
    child.once("close", (status) => done(status ?? 128));
  });
}

/** Ends a program and all that it started. */
function end(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}
