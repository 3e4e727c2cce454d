import type { Edge } from "./edges.ts";

/** Columns of left-aligned text, two spaces apart. */
export function columns(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] ?? "").length)));
  return [header, ...rows].map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd(),
  );
}

/** Edges as lines for people; the first is the header. */
export function edgeLines(edges: readonly Edge[]): string[] {
  const rows = edges.map((e) => [
    e.from,
    `${e.to}:${e.port}${e.subset === "" ? "" : ` ${e.subset}`}`,
    `${e.rate.toFixed(1)}/s`,
    e.success === null ? "-" : `${(Math.floor(e.success * 1000) / 10).toFixed(1)}%`,
    e.protocol === "tcp" ? "-" : duration(e.p50),
    e.protocol === "tcp" ? "-" : duration(e.p99),
    e.tls === "" ? "-" : e.tls === "mtls" ? "yes" : "no",
    e.protocol === "tcp" ? `${e.openConnections} open, ${size(e.bytes)}` : "",
    e.peers.length === 0 ? "-" : e.peers.map((p) => p.replace(/^spiffe:\/\/[^/]+/, "")).join(" "),
  ]);
  return columns(["FROM", "TO", "RATE", "SUCCESS", "P50", "P99", "MTLS", "TCP", "IDENTITY"], rows);
}

function duration(seconds: number | null): string {
  if (seconds === null) return "-";
  const ms = seconds * 1000;
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${seconds.toFixed(2)} s`;
}

function size(bytes: number): string {
  for (const [unit, scale] of [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const)
    if (bytes >= scale) return `${(bytes / scale).toFixed(1)} ${unit}`;
  return `${bytes} B`;
}
