import type { Clock } from "#api/clock.ts";
import { DURATION_BUCKETS_S, METRICS, type MetricDefinition, type MetricName } from "#api/metrics.ts";

type NameOf<T extends MetricDefinition["type"]> = { [N in MetricName]: (typeof METRICS)[N]["type"] extends T ? N : never }[MetricName];
export type CounterName = NameOf<"counter">;
export type GaugeName = NameOf<"gauge">;
export type HistogramName = NameOf<"histogram">;

/** Handles write into a page at a fixed offset: no look-up, no allocation. Keep them; making one costs a few microseconds. */
export interface Counter {
  /** Adds `n`, default 1; never negative. */
  inc(n?: number): void;
}
export interface Gauge {
  set(value: number): void;
  inc(n?: number): void;
  dec(n?: number): void;
}
export interface Histogram {
  /** Seconds. */
  observe(seconds: number): void;
}

/** Most series of one metric. Whatever comes after them counts in one series whose labels all say "other". */
export const SERIES_MAX = 2_000;
/** A series that nobody holds a handle of and that did not change for so long is dropped, as Prometheus' own staleness would. */
const IDLE_MS = 600_000;
const SWEEP_MS = 60_000;
/** Longest label value in UTF-16 units; room for a SPIFFE id. What is longer is cut. */
const LABEL_LENGTH_MAX = 2_048;
const SERIES_PER_PAGE = 64;
const OTHER = "other";

/** Upper bounds of histogram buckets, seconds, without +Inf. */
export const BUCKETS: Float64Array = Float64Array.from(DURATION_BUCKETS_S);
/** Slots of a histogram: one per bucket, +Inf, sum. */
const HISTOGRAM_SLOTS = BUCKETS.length + 2;

/** What the writer needs of one series. Histogram: `page[offset + i]` counts bucket i alone (not cumulated), then +Inf, then the sum. */
export interface SeriesView {
  readonly labels: readonly string[];
  readonly page: Float64Array;
  readonly offset: number;
}
export interface FamilyView {
  readonly name: string;
  readonly definition: MetricDefinition;
  readonly series: Iterable<SeriesView>;
}

interface Series extends SeriesView {
  readonly key: string;
  /** Weak: a caller that keeps its handle keeps the series; nobody has to give one back. */
  handle: WeakRef<object>;
  read: (() => number) | null;
  /** Sum of the slots at `changedMs`: whether it was used since is read off the value, not noted on the hot path. */
  checksum: number;
  changedMs: number;
}

interface Family {
  readonly name: MetricName;
  readonly definition: MetricDefinition;
  readonly slots: number;
  readonly series: Map<string, Series>;
  readonly free: { page: Float64Array; offset: number }[];
  overflow: object | null;
}

/**
 * The proxy's metrics (api/metrics.ts names them): values in typed arrays, one small handle per series,
 * a cap on series. Not prom-client: that hashes the labels at each observation (DESIGN section 9).
 *
 * Label values are given in the order of the metric's `labels`. Too many or too few is a bug and throws.
 */
export class Registry {
  private readonly clock: Clock;
  private readonly families = new Map<MetricName, Family>();
  private sweptMs = Number.NEGATIVE_INFINITY;
  private dropped: Counter | null = null;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  counter(name: CounterName, labels: readonly string[] = []): Counter {
    return this.handle(name, "counter", labels) as Counter;
  }

  gauge(name: GaugeName, labels: readonly string[] = []): Gauge {
    return this.handle(name, "gauge", labels) as Gauge;
  }

  histogram(name: HistogramName, labels: readonly string[] = []): Histogram {
    return this.handle(name, "histogram", labels) as Histogram;
  }

  /** A gauge whose value is asked for at each scrape. Calling again replaces the function; one that throws gives NaN. */
  gaugeFrom(name: GaugeName, labels: readonly string[], read: () => number): void {
    const family = this.family(name, "gauge");
    const values = labels.map(boundedLabel);
    this.handle(name, "gauge", labels);
    const series = family.series.get(keyOf(values));
    if (series !== undefined) series.read = read;
  }

  /** All series that exist, in the order in which their metrics were first used. Also drops what is idle. */
  *collect(): Generator<FamilyView> {
    this.sweep();
    for (const family of this.families.values()) {
      for (const s of family.series.values()) if (s.read !== null) s.page[s.offset] = ask(s.read);
      if (family.series.size > 0) yield { name: family.name, definition: family.definition, series: family.series.values() };
    }
  }

  private family(name: MetricName, type: MetricDefinition["type"]): Family {
    let family = this.families.get(name);
    if (family === undefined) {
      const definition: MetricDefinition | undefined = METRICS[name];
      if (definition?.type !== type) throw new TypeError(`${name} is not a ${type} of api/metrics.ts`);
      family = { name, definition, slots: type === "histogram" ? HISTOGRAM_SLOTS : 1, series: new Map(), free: [], overflow: null };
      this.families.set(name, family);
    }
    if (family.definition.type !== type) throw new TypeError(`${name} is not a ${type}`);
    return family;
  }

  private handle(name: MetricName, type: MetricDefinition["type"], labels: readonly string[]): object {
    const family = this.family(name, type);
    if (labels.length !== family.definition.labels.length)
      throw new TypeError(`${name} takes ${family.definition.labels.length} labels, not ${labels.length}`);
    const values = labels.map(boundedLabel);
    const key = keyOf(values);
    const existing = family.series.get(key);
    if (existing !== undefined) return existing.handle.deref() ?? this.revive(existing, type);
    // One place of the cap is the overflow series' own.
    if (family.series.size >= SERIES_MAX - 1) this.sweep();
    if (family.series.size >= SERIES_MAX - 1) return this.overflowOf(family, type);
    return this.add(family, key, values, null);
  }

  private add(family: Family, key: string, labels: readonly string[], dropped: Counter | null): object {
    if (family.free.length === 0) {
      const page = new Float64Array(SERIES_PER_PAGE * family.slots);
      // Backwards, because `pop` takes the last.
      for (let i = SERIES_PER_PAGE - 1; i >= 0; i--) family.free.push({ page, offset: i * family.slots });
    }
    const { page, offset } = family.free.pop()!;
    page.fill(0, offset, offset + family.slots);
    const handle = makeHandle(family.definition.type, page, offset, dropped);
    family.series.set(key, {
      key,
      labels,
      page,
      offset,
      handle: new WeakRef(handle),
      read: null,
      checksum: 0,
      changedMs: this.clock.monotonicMs(),
    });
    return handle;
  }

  private revive(series: Series, type: MetricDefinition["type"]): object {
    const handle = makeHandle(type, series.page, series.offset, null);
    series.handle = new WeakRef(handle);
    return handle;
  }

  private overflowOf(family: Family, type: MetricDefinition["type"]): object {
    this.dropped ??= this.counter("weft_metrics_dropped_series_total");
    const labels = family.definition.labels.map(() => OTHER);
    const key = keyOf(labels);
    const series = family.series.get(key);
    // Somebody's real labels may all be "other": then that series is used by both.
    if (series === undefined) family.overflow = this.add(family, key, labels, this.dropped);
    else family.overflow ??= makeHandle(type, series.page, series.offset, this.dropped);
    return family.overflow!;
  }

  /** At most once a minute: frees series that did not change for 10 minutes and whose handle nobody holds. */
  private sweep(): void {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.sweptMs < SWEEP_MS) return;
    this.sweptMs = nowMs;
    for (const family of this.families.values()) {
      for (const s of family.series.values()) {
        let checksum = 0;
        for (let i = 0; i < family.slots; i++) checksum += s.page[s.offset + i]!;
        if (checksum !== s.checksum) {
          s.checksum = checksum;
          s.changedMs = nowMs;
        } else if (nowMs - s.changedMs >= IDLE_MS && mayGo(family, s)) {
          family.series.delete(s.key);
          family.free.push({ page: s.page, offset: s.offset });
        }
      }
    }
  }
}

/** A gauge that stands at something still counts what is there: dropped and made anew it would go below zero. */
function mayGo(family: Family, series: Series): boolean {
  const counts = family.definition.type === "gauge" && series.page[series.offset] !== 0;
  return !counts && series.read === null && series.handle.deref() === undefined;
}

/** Makes a label value safe to store: bounded, and valid Unicode, so that two series never render alike. */
function boundedLabel(value: string): string {
  return (value.length > LABEL_LENGTH_MAX ? value.slice(0, LABEL_LENGTH_MAX) : value).toWellFormed();
}

/** Lengths in front, so that no value can imitate a separator. */
function keyOf(values: readonly string[]): string {
  let key = "";
  for (const value of values) key += `${value.length}:${value}`;
  return key;
}

function ask(read: () => number): number {
  try {
    return read();
  } catch {
    return Number.NaN;
  }
}

function makeHandle(type: MetricDefinition["type"], page: Float64Array, offset: number, dropped: Counter | null): object {
  switch (type) {
    case "counter":
      return new CounterHandle(page, offset, dropped);
    case "gauge":
      return new GaugeHandle(page, offset, dropped);
    case "histogram":
      return new HistogramHandle(page, offset, dropped);
  }
}

class CounterHandle implements Counter {
  private readonly page: Float64Array;
  private readonly offset: number;
  private readonly dropped: Counter | null;

  constructor(page: Float64Array, offset: number, dropped: Counter | null) {
    this.page = page;
    this.offset = offset;
    this.dropped = dropped;
  }

  inc(n = 1): void {
    // Also refuses NaN, which would stay for ever.
    if (!(n >= 0)) return;
    this.page[this.offset]! += n;
    this.dropped?.inc();
  }
}

class GaugeHandle implements Gauge {
  private readonly page: Float64Array;
  private readonly offset: number;
  private readonly dropped: Counter | null;

  constructor(page: Float64Array, offset: number, dropped: Counter | null) {
    this.page = page;
    this.offset = offset;
    this.dropped = dropped;
  }

  set(value: number): void {
    this.page[this.offset] = value;
    this.dropped?.inc();
  }

  inc(n = 1): void {
    this.page[this.offset]! += n;
    this.dropped?.inc();
  }

  dec(n = 1): void {
    this.page[this.offset]! -= n;
    this.dropped?.inc();
  }
}

class HistogramHandle implements Histogram {
  private readonly page: Float64Array;
  private readonly offset: number;
  private readonly dropped: Counter | null;

  constructor(page: Float64Array, offset: number, dropped: Counter | null) {
    this.page = page;
    this.offset = offset;
    this.dropped = dropped;
  }

  observe(seconds: number): void {
    if (!(seconds >= 0)) return;
    // First bucket whose bound is not below the value: Prometheus' `le` includes its bound.
    let low = 0;
    let high = BUCKETS.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (BUCKETS[middle]! < seconds) low = middle + 1;
      else high = middle;
    }
    this.page[this.offset + low]! += 1;
    this.page[this.offset + BUCKETS.length + 1]! += seconds;
    this.dropped?.inc();
  }
}
