import http from "node:http";

/** Where every sidecar tells its metrics (DESIGN section 5). */
const ADMIN_PORT = 16803;

export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a sidecar tells of itself now. Rejects when it does not answer. */
export function scrape(podAddress: string): Promise<Series[]> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: podAddress, port: ADMIN_PORT, path: "/metrics", agent: false, timeout: 5000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("error", reject);
      response.on("end", () =>
        response.statusCode === 200 ? resolve(parse(text)) : reject(new Error(`/metrics: ${response.statusCode}`)),
      );
    });
    request.on("timeout", () => request.destroy(new Error(`no metrics from ${podAddress}`)));
    request.on("error", reject);
  });
}

/** The sum of a metric over the series whose labels are as given. */
export function sum(series: readonly Series[], name: string, labels: Readonly<Record<string, string>> = {}): number {
  return series
    .filter((s) => s.name === name && Object.entries(labels).every(([label, value]) => s.labels[label] === value))
    .reduce((total, s) => total + s.value, 0);
}

function parse(text: string): Series[] {
  const found: Series[] = [];
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (match === null) continue;
    const labels: Record<string, string> = {};
    for (const [, label = "", value = ""] of (match[2] ?? "").matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g)) labels[label] = value;
    found.push({ name: match[1] ?? "", labels, value: Number(match[3]) });
  }
  return found;
}
