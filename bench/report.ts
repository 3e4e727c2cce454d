import fs from "node:fs";
import path from "node:path";
import type { Environment } from "./environment.ts";
import type { Features } from "./feature-row.ts";
import { ROOT } from "./processes.ts";
import type { Result, Threshold } from "./results.ts";

const FOLDER = path.join(ROOT, "bench/results");
const LATEST = path.join(FOLDER, "latest.json");
const FEATURES = path.join(FOLDER, "features.json");
const ENVIRONMENT = path.join(FOLDER, "environment.json");
const README = path.join(ROOT, "bench/README.md");
const BEGIN = "<!-- results: written by make bench -->";
const END = "<!-- end of results -->";

/** A row as the report names it: its number, and the threshold of its workload. */
export interface ReportedRow {
  readonly number: string;
  readonly title: string;
  readonly workload: string;
  readonly threshold: Threshold | null;
}

export interface Found {
  readonly environment: Environment;
  readonly results: readonly Result[];
  readonly features: Features | null;
}

/**
 * Writes results/*.json and the tables of README.md. Rows that were not measured this time keep their figures, unless
 * those are from another machine or other versions.
 */
export function writeReport(found: Found, rows: readonly ReportedRow[]): void {
  fs.mkdirSync(FOLDER, { recursive: true });
  const same = sameEnvironment(read<Environment>(ENVIRONMENT), found.environment);
  const measured = new Set(found.results.map((r) => r.row));
  const kept = same ? (read<Result[]>(LATEST) ?? []).filter((r) => !measured.has(r.row)) : [];
  const order = new Map(rows.map((row, i) => [rowName(row), i]));
  const results = [...kept, ...found.results].filter((r) => order.has(r.row)).sort((a, b) => order.get(a.row)! - order.get(b.row)!);
  const features = found.features ?? (same ? read<Features>(FEATURES) : null);
  write(LATEST, results);
  if (features === null) fs.rmSync(FEATURES, { force: true });
  else write(FEATURES, features);
  write(ENVIRONMENT, found.environment);
  const text = fs.readFileSync(README, "utf8");
  const [before, after] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (before < 0 || after < before) throw new Error(`bench/README.md has lost its marks ${BEGIN} and ${END}`);
  const tables = [
    aboutEnvironment(found.environment),
    ...rows.flatMap((row) => table(row, results)),
    ...(features === null ? [] : featureTables(features)),
  ];
  fs.writeFileSync(README, `${text.slice(0, before + BEGIN.length)}\n\n${tables.join("\n\n")}\n\n${text.slice(after)}`);
}

export function rowName({ number, title }: { readonly number: string; readonly title: string }): string {
  return `${number} ${title}`;
}

function read<T>(file: string): T | null {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as T;
  } catch {
    return null;
  }
}

function write(file: string, value: unknown): void {
  fs.writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** Neither Weft's commit nor how busy the machine was makes another environment. */
function sameEnvironment(a: Environment | null, b: Environment): boolean {
  const { weft: _a, loadAverage: _b, ...before } = a ?? ({} as Environment);
  const { weft: _c, loadAverage: _d, ...now } = b;
  return JSON.stringify(before) === JSON.stringify(now);
}

function aboutEnvironment(e: Environment): string {
  const peers = [`Envoy ${e.envoy}`, `HAProxy ${e.haproxy}`, `nginx ${e.nginx}`, `h2load ${e.h2load}`].filter((p) => !p.endsWith("null"));
  return `Weft ${e.weft} on Node ${e.node}, ${peers.join(", ")}; kernel ${e.kernel}, ${e.cores} cores of ${e.processor}. Load average before the last run: ${e.loadAverage.toFixed(1)}.`;
}

const UNITS = { cpuUsPerRequest: "CPU µs", rssMiB: "RSS MiB", rssAnonMiB: "RssAnon MiB" } as const;

/** Of one row: a line per peer and metric; nothing for a row never measured. Pure. */
export function table(row: ReportedRow, results: readonly Result[]): string[] {
  const lines = results.filter((r) => r.row === rowName(row));
  if (lines.length === 0) return [];
  const { threshold } = row;
  const per = (r: Result): string =>
    threshold === null ? "" : ` ${r.ratioToEnvoy === null ? "" : range(r.ratioToEnvoy, r.ratioMin, r.ratioMax, 2)} |`;
  const head =
    threshold === null
      ? "| peer | median (least – most) |\n|---|---|"
      : `| peer | median (least – most) | ÷ ${threshold.reference} |\n|---|---|---|`;
  const body = lines.map(
    (r) => `| ${r.peer === "weft" ? "**weft**" : r.peer} | ${UNITS[r.metric]} ${range(r.median, r.min, r.max, 1)} |${per(r)}`,
  );
  return [`### Row ${rowName(row)}\n\n${goal(row, lines)}${[head, ...body].join("\n")}`];
}

/** The threshold beside what was found. */
function goal({ threshold }: ReportedRow, lines: readonly Result[]): string {
  const own = lines.find((r) => r.peer === "weft" && r.metric !== "rssAnonMiB");
  if (threshold === null || own === undefined) return "";
  const { reference, limit, aim } = threshold;
  const met = own.ratioToEnvoy === null ? "not measured" : own.ratioToEnvoy <= limit ? "met" : "**missed**";
  return `Threshold: at most ${limit} of ${reference}${aim === undefined ? "" : `, aim ${aim}`}: ${met}. ${own.rounds} ${own.rounds === 1 ? "round" : "rounds"}.\n\n`;
}

function range(median: number, min: number | null, max: number | null, digits: number): string {
  return `${median.toFixed(digits)} (${(min ?? median).toFixed(digits)} – ${(max ?? median).toFixed(digits)})`;
}

function featureTables({ variants, costs, profiles }: Features): string[] {
  const measured = variants.map((v) => `| ${v.peer} | ${range(v.value.median, v.value.min, v.value.max, 1)} |`);
  const differences = costs.map((c) => `| ${c.feature} | ${c.us.toFixed(1)} | ${c.from} |`);
  const parts = [...new Set(profiles.flatMap((p) => p.shares.map((s) => s.part)))];
  const share = (p: Features["profiles"][number], part: string): string =>
    `${(100 * (p.shares.find((s) => s.part === part)?.share ?? 0)).toFixed(1)} %`;
  const shares = parts.map((part) => `| ${part} | ${profiles.map((p) => share(p, part)).join(" | ")} |`);
  const sections = [
    `### Row 6 what each feature costs\n\nGET 1 KiB, 32 connections, CPU µs per request, all sidecars that a request passes together.\n\n| Service | µs (least – most) |\n|---|---|\n${measured.join("\n")}`,
    `| feature | adds µs | found as |\n|---|---|---|\n${differences.join("\n")}`,
  ];
  if (profiles.length === 0) return sections;
  const head = `| part | ${profiles.map((p) => p.sidecar).join(" | ")} |\n|---|${profiles.map(() => "---").join("|")}|`;
  return [...sections, `Where a sidecar's CPU time goes (Node's sampling profiler, opened from outside):\n\n${head}\n${shares.join("\n")}`];
}
