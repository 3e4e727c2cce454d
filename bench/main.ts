import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { startBackends } from "./backends.ts";
import { makeCertificates } from "./certificates.ts";
import { readEnvironment } from "./environment.ts";
import { type Features, measureFeatures } from "./feature-row.ts";
import { install } from "./install.ts";
import { measureRow, type Plan } from "./measure.ts";
import { MEMORY_ROW, measureMemory } from "./memory-row.ts";
import type { Ground } from "./peers/target.ts";
import { Processes } from "./processes.ts";
import { type ReportedRow, rowName, writeReport } from "./report.ts";
import { type Measured, type Result, resultOf, verdict } from "./results.ts";
import { FEATURES, ROWS } from "./rows.ts";
import { readSettings, type Settings, USAGE } from "./settings.ts";

const ORDER: readonly ReportedRow[] = [...ROWS, MEMORY_ROW, FEATURES];

/** All rows with five rounds end within this on a quiet machine; on a busy one some get fewer rounds. */
const BUDGET_MINUTES = 13;
const MINUTES_PER_ROUND = 2.6;
/** Load average from which on others disturb what is measured. */
const BUSY = 1;

const say = (line: string): void => console.log(line);

function show(measured: readonly Measured[]): void {
  const number = (n: number, digits: number): string => n.toFixed(digits);
  for (const { peer, metric, value, ratio } of measured) {
    const range = `${number(value.median, 1).padStart(8)} (${number(value.min, 1)} to ${number(value.max, 1)})`;
    say(`  ${peer.padEnd(28)} ${metric.padEnd(16)} ${range}${ratio === null ? "" : `  ratio ${number(ratio.median, 2)}`}`);
  }
}

/** Measures the rows asked for and, unless only some peers were, writes the report. */
async function measureAll(ground: Ground, { rows, rounds, peers }: Settings): Promise<void> {
  const minutes = Math.max(BUDGET_MINUTES, MINUTES_PER_ROUND * rounds);
  const plan: Plan = { rounds, peers, say, deadlineMs: performance.now() + minutes * 60_000 };
  const loadAverage = os.loadavg()[0] ?? 0;
  if (loadAverage > BUSY) say(`the machine is busy (load average ${loadAverage.toFixed(1)}): figures come out high and ratios loose`);
  const wanted = (row: ReportedRow): boolean => rows === null || rows.includes(row.number) || rows.includes(row.workload);
  const results: Result[] = [];
  const verdicts: string[] = [];
  const finish = (row: ReportedRow, measured: readonly Measured[]): void => {
    show(measured);
    results.push(...measured.map((m) => resultOf(rowName(row), row.workload, m)));
    if (row.threshold === null) return;
    verdicts.push(`row ${rowName(row)}\n  ${verdict(row.threshold, measured)}`);
    say(`  ${verdict(row.threshold, measured)}`);
  };
  for (const row of ROWS.filter(wanted)) {
    say(`row ${rowName(row)}`);
    finish(row, await measureRow(ground, row, plan));
  }
  if (wanted(MEMORY_ROW)) {
    say(`row ${rowName(MEMORY_ROW)}`);
    finish(MEMORY_ROW, await measureMemory(ground, plan));
  }
  let features: Features | null = null;
  if (wanted(FEATURES)) {
    say(`row ${rowName(FEATURES)}`);
    features = await measureFeatures(ground, plan);
    show(features.variants);
    for (const { feature, us } of features.costs) say(`  ${us.toFixed(1).padStart(8)} µs  ${feature}`);
  }
  if (verdicts.length > 1) say(`\n${verdicts.join("\n")}`);
  if (peers !== null) return say("nothing was written: only some peers were measured");
  writeReport({ environment: readEnvironment(ground.envoy !== null, loadAverage), results, features }, ORDER);
  say("written: bench/results/latest.json, bench/README.md");
}

/** Prepares the ground, measures, and ends whatever was started: at the end, on an error, and on Ctrl-C. */
async function run(settings: Settings): Promise<number> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-bench-"));
  const processes = new Processes(folder);
  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => (stopping ??= processes.close().then(() => fs.rmSync(folder, { recursive: true, force: true })));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (stopping === null) say("\nending what was started");
      void stop().then(() => process.exit(130));
    });
  }
  try {
    const { envoy, haproxy } = await install(say);
    const certificates = makeCertificates(path.join(folder, "certificates"));
    const ground: Ground = { processes, folder, certificates, backends: await startBackends(processes), envoy, haproxy };
    await measureAll(ground, settings);
    return 0;
  } catch (error) {
    // After Ctrl-C whatever was under way fails, which is no news.
    if (stopping === null) console.error(`make bench: ${(error as Error).message}`);
    return 1;
  } finally {
    await stop();
  }
}

const settings = readSettings(
  process.argv.slice(2),
  process.env,
  ORDER.flatMap((row) => [row.number, row.workload]),
);
if (typeof settings === "string") {
  console.error(`${settings}\n\n${USAGE}`);
  process.exitCode = 2;
} else if (settings.help) console.log(USAGE);
else process.exitCode = await run(settings);
