import type { Clock } from "#api/clock.ts";
import type { Edge } from "./edges.ts";
import type { Report } from "./events.ts";
import type { Scraper } from "./scrape.ts";

/** Between scrapes until the first routed request, milliseconds: its moment is told to a tenth of a second. */
const EAGER_MS = 200;

export interface MonitorOptions {
  readonly clock: Clock;
  readonly scraper: Scraper;
  readonly report: Report;
  /** Between snapshots after the first request, milliseconds. */
  readonly everyMs: number;
  readonly onFirst: () => void;
}

/** Tells of the first routed request, and then of the edges again and again. */
export class RunMonitor {
  private readonly options: MonitorOptions;
  private readonly startedMs: number;
  private cancel: (() => void) | null = null;
  private stopped = false;
  private seen = false;

  constructor(options: MonitorOptions) {
    this.options = options;
    this.startedMs = options.clock.monotonicMs();
  }

  start(): void {
    const { clock, scraper, report, everyMs } = this.options;
    const turn = async (): Promise<void> => {
      const edges = await scraper.edges(0);
      if (this.stopped) return;
      if (!this.seen) {
        const edge = firstRouted(edges);
        if (edge !== null) {
          this.seen = true;
          report({ type: "first-request", afterMs: clock.monotonicMs() - this.startedMs, edge });
          this.options.onFirst();
        }
      } else report({ type: "edges", edges });
      this.cancel = clock.after(this.seen ? everyMs : EAGER_MS, () => void turn());
    };
    void turn();
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }
}

/** An edge on which something was answered: HTTP first, and what failed while all was starting does not count. */
export function firstRouted(edges: readonly Edge[]): Edge | null {
  const good = edges.filter((e) => e.total > 0 && (e.protocol === "tcp" ? e.lastStatus === "connected" : /^[1-4]\d\d$/.test(e.lastStatus)));
  const http = good.filter((e) => e.protocol === "http");
  return http.find((e) => e.tls === "mtls") ?? http[0] ?? good[0] ?? null;
}
