/**
 * Names, types, help and labels of every metric. OpenTelemetry's names in Prometheus form where it has
 * one, `weft_*` with the unit as suffix otherwise. Label values that a client controls are bounded:
 * methods outside RFC 9110 and PATCH count as `_OTHER`, paths and hosts are never labels.
 */
export interface MetricDefinition {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

/** Seconds. OpenTelemetry's recommended boundaries, extended below 5 ms: calls inside one machine take less. */
export const DURATION_BUCKETS_S = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const;

const HTTP_COMMON = ["http_request_method", "http_response_status_code", "error_type"] as const;

export const METRICS = {
  // Proxy, outbound: one series per service, route, subset, peer identity, method, status and error.
  http_client_request_duration_seconds: {
    type: "histogram",
    help: "Duration of requests that this workload made through its proxy, from the request's head to the response's end",
    // server_address: "<service>.<namespace>"; server_port; weft_route: name of the route or ""; weft_subset;
    // weft_peer: SPIFFE id of the last endpoint tried, "" when it is not meshed or none was reached; weft_tls: "mtls" or "none".
    labels: ["server_address", "server_port", "weft_route", "weft_subset", "weft_peer", "weft_tls", ...HTTP_COMMON],
  },
  // Proxy, inbound.
  http_server_request_duration_seconds: {
    type: "histogram",
    help: "Duration of requests that this workload served through its proxy",
    // server_port: port of the pod; weft_peer: SPIFFE id of the caller, "" for plaintext.
    labels: ["server_port", "weft_peer", "weft_tls", ...HTTP_COMMON],
  },
  weft_retries_total: { type: "counter", help: "Attempts after the first", labels: ["server_address", "server_port", "reason"] },
  weft_retry_budget_exhausted_total: {
    type: "counter",
    help: "Retries not made because the budget was spent",
    labels: ["server_address", "server_port"],
  },
  weft_faults_injected_total: { type: "counter", help: "Faults injected on purpose", labels: ["server_address", "server_port", "type"] },
  weft_tcp_connections_total: {
    type: "counter",
    help: "TCP connections ended or open. error_type is empty for those that were established",
    labels: ["direction", "server_address", "server_port", "weft_peer", "weft_tls", "error_type"],
  },
  weft_tcp_open_connections: { type: "gauge", help: "TCP connections now open", labels: ["direction", "server_address", "server_port"] },
  weft_tcp_sent_bytes_total: {
    type: "counter",
    help: "Bytes from client to server on TCP connections",
    labels: ["direction", "server_address", "server_port", "weft_peer"],
  },
  weft_tcp_received_bytes_total: {
    type: "counter",
    help: "Bytes from server to client on TCP connections",
    labels: ["direction", "server_address", "server_port", "weft_peer"],
  },
  weft_inbound_plaintext_connections_total: {
    type: "counter",
    help: "Connections without TLS that were let in (Permissive or Disabled)",
    labels: ["server_port"],
  },
  weft_inbound_refused_connections_total: {
    type: "counter",
    help: "Inbound connections refused before a request",
    labels: ["server_port", "error_type"],
  },
  weft_tls_handshakes_total: { type: "counter", help: "TLS handshakes", labels: ["direction", "outcome"] },
  weft_upstream_connections_total: {
    type: "counter",
    help: "Connections opened to endpoints",
    labels: ["server_address", "server_port", "carrier"],
  },
  weft_upstream_open_connections: { type: "gauge", help: "Connections to endpoints now open", labels: ["carrier"] },
  weft_buffered_bytes: { type: "gauge", help: "Bytes held in the proxy's own buffers; the cap is 32 MiB", labels: [] },
  weft_overload_refused_total: { type: "counter", help: "Streams refused because the buffers were at their cap", labels: [] },
  weft_certificate_expiry_timestamp_seconds: {
    type: "gauge",
    help: "End of the validity of the workload's certificate, seconds since the epoch",
    labels: [],
  },
  weft_certificate_renewals_total: { type: "counter", help: "Certificates asked for", labels: ["outcome"] },
  weft_discovery_connected: { type: "gauge", help: "1 while the discovery stream is open", labels: [] },
  weft_discovery_documents: { type: "gauge", help: "Documents held, by kind", labels: ["kind"] },
  weft_discovery_applied_total: { type: "counter", help: "Document versions applied or refused", labels: ["kind", "outcome"] },
  weft_event_loop_delay_seconds: { type: "gauge", help: "Longest delay of the event loop since the last scrape", labels: [] },
  weft_metrics_dropped_series_total: {
    type: "counter",
    help: "Observations counted in no series of their own because the cap on series was reached",
    labels: [],
  },
  weft_build_info: { type: "gauge", help: "Always 1; version and Node version as labels", labels: ["version", "node"] },
  // Operator.
  weft_operator_services: { type: "gauge", help: "Services known", labels: [] },
  weft_operator_endpoints: { type: "gauge", help: "Endpoints known", labels: [] },
  weft_operator_source_connected: { type: "gauge", help: "1 while the resource store can be reached", labels: [] },
  weft_operator_streams: { type: "gauge", help: "Discovery streams open", labels: [] },
  weft_document_subscribers: { type: "gauge", help: "Subscriptions by state", labels: ["state"] },
  weft_document_nacks_total: { type: "counter", help: "Versions refused by a proxy", labels: ["code"] },
  weft_operator_plan_duration_seconds: { type: "histogram", help: "Time to plan what one batch of changes touches", labels: [] },
  weft_operator_propagation_seconds: { type: "histogram", help: "From a change seen to its version acked by a subscriber", labels: [] },
  weft_ca_issued_total: { type: "counter", help: "Certificates asked of the CA", labels: ["outcome"] },
  weft_ca_issuer_expiry_timestamp_seconds: { type: "gauge", help: "End of the validity of the issuer's certificate", labels: [] },
  weft_ca_root_expiry_timestamp_seconds: { type: "gauge", help: "End of the validity of the root's certificate", labels: [] },
  // Injector.
  weft_injector_reviews_total: {
    type: "counter",
    help: "Admission reviews answered",
    // kind: Pod, one of Weft's kinds, or "other"; outcome: injected, unchanged, skipped, allowed, refused, malformed, overloaded, unavailable or failed.
    labels: ["kind", "outcome"],
  },
  weft_injector_review_duration_seconds: { type: "histogram", help: "Time to answer a review once its body is there", labels: ["kind"] },
  weft_injector_certificate_expiry_timestamp_seconds: {
    type: "gauge",
    help: "End of the validity of the webhook's serving certificate, seconds since the epoch",
    labels: [],
  },
  weft_injector_certificate_reloads_total: {
    type: "counter",
    help: "New serving certificates taken into use, or refused as broken",
    labels: ["outcome"],
  },
  // Operator and injector: their copies of the API server's objects.
  weft_kube_lists_total: {
    type: "counter",
    help: "Pages of lists asked of the API server. outcome is ok, expired, missing, throttled or broken",
    labels: ["resource", "outcome"],
  },
  weft_kube_watches_total: {
    type: "counter",
    help: "Watches that ended. outcome is ok, silent, expired, missing, throttled, confused or broken",
    labels: ["resource", "outcome"],
  },
  weft_kube_last_event_age_seconds: {
    type: "gauge",
    help: "Time since the API server last said anything of the kind; a bookmark comes about every minute",
    labels: ["resource"],
  },
  weft_kube_handler_errors_total: {
    type: "counter",
    help: "Changes that were told again because what they were told to failed",
    labels: ["resource"],
  },
  weft_kube_leader: { type: "gauge", help: "1 while this replica holds the lease", labels: [] },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
export type LabelOf<N extends MetricName> = (typeof METRICS)[N]["labels"][number];
