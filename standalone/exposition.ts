/** One sample of a Prometheus text exposition. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** Name and labels as written: tells series apart. */
  readonly key: string;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;

/** The samples of our own exposition (Prometheus text format 0.0.4). Lines that are not samples are skipped. */
export function parseExposition(text: string, wanted: (name: string) => boolean): Series[] {
  const series: Series[] = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#") || !wanted(/^[a-zA-Z0-9_:]*/.exec(line)?.[0] ?? "")) continue;
    const match = LINE.exec(line);
    if (match === null) continue;
    const [, name = "", labelText = "", number = ""] = match;
    const value = number === "+Inf" ? Number.POSITIVE_INFINITY : Number(number);
    if (Number.isNaN(value)) continue;
    const labels: Record<string, string> = {};
    for (const [, label = "", raw = ""] of labelText.matchAll(LABEL))
      labels[label] = raw.replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
    series.push({ name, labels, value, key: `${name}{${labelText}}` });
  }
  return series;
}

/** A part between 0 and 1, whatever rounding did. */
export function exact(part: number): number {
  return Math.min(1, Math.max(0, part));
}
