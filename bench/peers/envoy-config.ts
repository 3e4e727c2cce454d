import { type Certificates, SERVER_NAME, spiffeId } from "../certificates.ts";

/** Envoy's configuration as plain objects: it takes JSON as well as YAML. Statistics are on, as they are by default. */
export type Json = Readonly<Record<string, unknown>>;

export interface ClusterOptions {
  /** Every endpoint of the cluster, in one locality. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
  readonly tls?: Json;
  /** HTTP/2 to the endpoint; otherwise HTTP/1.1, or bytes. */
  readonly http2?: boolean;
}

const TYPE = "type.googleapis.com/envoy.extensions";
const HTTP_MANAGER = `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`;

function address(host: string, port: number): Json {
  return { socket_address: { address: host, port_value: port } };
}

export function cluster(name: string, options: ClusterOptions): Json {
  const lbEndpoints = options.endpoints.map(({ host, port }) => ({ endpoint: { address: address(host, port) } }));
  const http2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": `${TYPE}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  };
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    // The defaults are for the open internet; a limit must not decide a measurement.
    circuit_breakers: { thresholds: [{ max_connections: 100_000, max_pending_requests: 100_000, max_requests: 100_000 }] },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: lbEndpoints }] },
    ...(options.http2 === true ? { typed_extension_protocol_options: http2 } : {}),
    ...(options.tls === undefined ? {} : { transport_socket: { name: "envoy.transport_sockets.tls", typed_config: options.tls } }),
  };
}

export interface VirtualHost {
  readonly name: string;
  readonly domains: readonly string[];
  readonly cluster: string;
}

export function httpFilter(virtualHosts: readonly VirtualHost[]): Json {
  const hosts = virtualHosts.map(({ name, domains, cluster: to }) => ({
    name,
    domains,
    routes: [{ match: { prefix: "/" }, route: { cluster: to, timeout: "0s" } }],
  }));
  const router = { "@type": `${TYPE}.filters.http.router.v3.Router`, suppress_envoy_headers: true };
  return {
    name: "envoy.filters.network.http_connection_manager",
    typed_config: {
      "@type": HTTP_MANAGER,
      stat_prefix: "bench",
      codec_type: "AUTO",
      // Envoy's own advice for measurements: random ids cost, and nobody reads them here.
      generate_request_id: false,
      route_config: { name: "bench", virtual_hosts: hosts },
      http_filters: [{ name: "envoy.filters.http.router", typed_config: router }],
    },
  };
}

export function tcpFilter(to: string): Json {
  const config = { "@type": `${TYPE}.filters.network.tcp_proxy.v3.TcpProxy`, stat_prefix: "bench", cluster: to };
  return { name: "envoy.filters.network.tcp_proxy", typed_config: config };
}

export function listener(port: number, filter: Json, tls?: Json): Json {
  const socket = tls === undefined ? {} : { transport_socket: { name: "envoy.transport_sockets.tls", typed_config: tls } };
  return { name: `listener_${port}`, address: address("127.0.0.1", port), filter_chains: [{ filters: [filter], ...socket }] };
}

function tlsContext(certificates: Certificates, own: "client" | "server", peer: string, alpn: readonly string[]): Json {
  const { crt, key } = certificates[own];
  return {
    alpn_protocols: alpn,
    tls_params: { tls_minimum_protocol_version: "TLSv1_3", tls_maximum_protocol_version: "TLSv1_3" },
    tls_certificates: [{ certificate_chain: { filename: crt }, private_key: { filename: key } }],
    validation_context: {
      trusted_ca: { filename: certificates.ca },
      match_typed_subject_alt_names: [{ san_type: "URI", matcher: { exact: spiffeId(peer) } }],
    },
  };
}

/** For the accepting side: a client certificate with the expected SPIFFE id is required. */
export function downstreamTls(certificates: Certificates): Json {
  return {
    "@type": `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    common_tls_context: tlsContext(certificates, "server", "client", ["h2", "http/1.1"]),
  };
}

/** For the calling side. `resume` false: every handshake is a full one. */
export function upstreamTls(certificates: Certificates, alpn: readonly string[], resume: boolean): Json {
  return {
    "@type": `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
    sni: SERVER_NAME,
    ...(resume ? {} : { max_session_keys: 0 }),
    common_tls_context: tlsContext(certificates, "client", "server", alpn),
  };
}

export function bootstrap(adminPort: number, listeners: readonly Json[], clusters: readonly Json[]): Json {
  return {
    admin: { address: address("127.0.0.1", adminPort) },
    node: { id: "bench", cluster: "bench" },
    static_resources: { listeners, clusters },
  };
}
