import type { MetricDefinition } from "#api/metrics.ts";
import { BUCKETS, type FamilyView, type SeriesView } from "./metrics.ts";

/** Content type of what `exposition` gives (Prometheus text format 0.0.4). */
export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Characters after which a chunk is handed out: a scraper that reads slowly never makes us hold all of it twice. */
const CHUNK_CHARS = 64 * 1024;

const BOUNDS: readonly string[] = [...Array.from(BUCKETS, (b) => numberText(b)), "+Inf"];

/** The text of all families, in chunks of about 64 KiB. Pure: reads the values as they are at that moment. */
export function* exposition(families: Iterable<FamilyView>): Generator<string> {
  let text = "";
  for (const { name, definition, series } of families) {
    text += `# HELP ${name} ${escapeHelp(definition.help)}\n# TYPE ${name} ${definition.type}\n`;
    for (const s of series) {
      text += definition.type === "histogram" ? histogramText(name, definition, s) : sampleText(name, definition, s);
      if (text.length >= CHUNK_CHARS) {
        yield text;
        text = "";
      }
    }
  }
  if (text !== "") yield text;
}

function sampleText(name: string, definition: MetricDefinition, series: SeriesView): string {
  const labels = labelText(definition, series);
  return `${name}${labels === "" ? "" : `{${labels}}`} ${numberText(series.page[series.offset]!)}\n`;
}

function histogramText(name: string, definition: MetricDefinition, series: SeriesView): string {
  const labels = labelText(definition, series);
  const bucket = `${name}_bucket{${labels}${labels === "" ? "" : ","}le="`;
  const braces = labels === "" ? "" : `{${labels}}`;
  let text = "";
  let cumulative = 0;
  for (let i = 0; i < BOUNDS.length; i++) {
    cumulative += series.page[series.offset + i]!;
    text += `${bucket}${BOUNDS[i]}"} ${cumulative}\n`;
  }
  return `${text}${name}_sum${braces} ${numberText(series.page[series.offset + BOUNDS.length]!)}\n${name}_count${braces} ${cumulative}\n`;
}

function labelText(definition: MetricDefinition, series: SeriesView): string {
  let text = "";
  for (let i = 0; i < definition.labels.length; i++)
    text += `${i === 0 ? "" : ","}${definition.labels[i]}="${escapeLabel(series.labels[i]!)}"`;
  return text;
}

/** Label values escape backslash, double quote and line feed; everything else stands as it is. */
export function escapeLabel(value: string): string {
  // Rarely needed: the test is cheaper than three replacements.
  return /[\\"\n]/.test(value) ? value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n") : value;
}

/** Help texts escape backslash and line feed only. */
export function escapeHelp(help: string): string {
  return help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

/** As Go's ParseFloat reads it. */
export function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
