import type { MetricName } from "#api/metrics.ts";

/** What this room counts; whoever uses it registers them. */
export const KUBE_METRICS: readonly MetricName[] = [
  "weft_kube_lists_total",
  "weft_kube_watches_total",
  "weft_kube_last_event_age_seconds",
  "weft_kube_handler_errors_total",
  "weft_kube_leader",
];
