import path from "node:path";
import { echo } from "./load/echo.ts";
import { h2load } from "./load/h2load.ts";
import type { LoadResult } from "./load/load.ts";
import { envoyHop, envoyPair } from "./peers/envoy.ts";
import { haproxyHop, haproxyPair } from "./peers/haproxy.ts";
import { httpProxyHop } from "./peers/http-proxy.ts";
import { nginxHop, nginxPair } from "./peers/nginx.ts";
import type { Ground, Target } from "./peers/target.ts";
import type { WeftRun } from "./peers/weft.ts";
import { ROOT } from "./processes.ts";
import type { Threshold } from "./results.ts";

export interface Peer {
  readonly name: string;
  /** Written in JavaScript: warmed up for longer, until what runs is compiled. */
  readonly node: boolean;
  /** `mesh` gives the run of bench/mesh that the row's peers share; the first who asks starts it. */
  start(ground: Ground, mesh: () => Promise<WeftRun>): Promise<Target>;
}

/** One workload, measured for several peers in turn. */
export interface Row {
  /** As in the list of rows of README.md; also how ROWS names it. */
  readonly number: string;
  readonly workload: string;
  readonly title: string;
  /** What one unit of the load is. */
  readonly unit: string;
  readonly connections: number;
  readonly peers: readonly Peer[];
  /** Names the peer that ratios are taken to. Null: the row compares Weft with itself. */
  readonly threshold: Threshold | null;
  load(ground: Ground, target: Target, count: number): Promise<LoadResult>;
}

/** The folder that is measured. */
export const MESH = path.join(ROOT, "bench/mesh");

const weft = (service: string, port: number, app: string | null, name = "weft"): Peer => ({
  name,
  node: true,
  start: async (_ground, mesh) => (await mesh()).target(service, port, app),
});

const peer = (name: string, start: (ground: Ground) => Promise<Target>, node = false): Peer => ({ name, node, start });

const http = (connections: number) => ({
  connections,
  unit: "request",
  load: (ground: Ground, target: Target, count: number) => h2load(ground.processes, target, count, connections),
});

const tcp = (connections: number, fresh: boolean) => ({
  connections,
  unit: fresh ? "connection" : "echo",
  load: (ground: Ground, target: Target, count: number) => echo(ground.processes, target, count, connections, fresh),
});

export const ROWS: readonly Row[] = [
  {
    number: "1",
    workload: "plain-hop",
    title: "plain HTTP/1.1 hop, GET 1 KiB, 8 connections",
    ...http(8),
    peers: [
      weft("plain", 8080, null),
      peer("envoy-h1", (g) => envoyHop(g, "http")),
      peer("haproxy-h1", (g) => haproxyHop(g, "http")),
      peer("nginx-h1", nginxHop),
      peer("http-proxy", httpProxyHop, true),
    ],
    threshold: { reference: "envoy-h1", limit: 0.9, aim: 0.65 },
  },
  {
    number: "4",
    workload: "mtls-pair-c32",
    title: "mTLS pair, HTTP/1.1 ends, GET 1 KiB, 32 connections",
    ...http(32),
    peers: [
      weft("pair", 8080, "web"),
      peer("envoy-h2", (g) => envoyPair(g, "h2")),
      peer("envoy-h1", (g) => envoyPair(g, "h1")),
      peer("haproxy-h1", (g) => haproxyPair(g, "h1")),
      peer("haproxy-h2", (g) => haproxyPair(g, "h2")),
      peer("nginx-h1", nginxPair),
    ],
    threshold: { reference: "envoy-h2", limit: 1, aim: 0.7 },
  },
  {
    number: "10",
    workload: "tcp-echo",
    title: "TCP echo of 100 bytes, plain hop, 8 connections",
    ...tcp(8, false),
    peers: [weft("plain-tcp", 7000, null), peer("envoy-tcp", (g) => envoyHop(g, "tcp")), peer("haproxy-tcp", (g) => haproxyHop(g, "tcp"))],
    threshold: { reference: "envoy-tcp", limit: 1.3 },
  },
  {
    number: "10",
    workload: "tcp-echo-mtls",
    title: "TCP echo of 100 bytes, mTLS pair, 8 connections",
    ...tcp(8, false),
    peers: [
      weft("pair-tcp", 7000, "echo"),
      peer("envoy-tcp", (g) => envoyPair(g, "tcp")),
      peer("haproxy-tcp", (g) => haproxyPair(g, "tcp")),
    ],
    threshold: { reference: "envoy-tcp", limit: 1.3 },
  },
  {
    number: "11",
    workload: "handshake",
    title: "new mTLS connection and one echo of 100 bytes, 4 at a time",
    ...tcp(4, true),
    peers: [
      weft("pair-tcp", 7000, "echo"),
      peer("envoy-tcp", (g) => envoyPair(g, "tcp")),
      peer("envoy-tcp-resuming", (g) => envoyPair(g, "tcp", true)),
      peer("haproxy-tcp", (g) => haproxyPair(g, "tcp")),
    ],
    threshold: { reference: "envoy-tcp", limit: 1.5 },
  },
];

/** Names of the variants of the next row; `features.ts` says what their differences mean. */
export const VARIANTS = {
  plainBytes: "plain, as bytes",
  plainHttp: "plain, HTTP",
  plainPolicy: "plain, HTTP, ten routes",
  pairOpen: "plaintext pair, HTTP",
  pairBytes: "mTLS pair, as bytes",
  pairHttp: "mTLS pair, HTTP",
  pairPolicy: "mTLS pair, HTTP, ten routes",
} as const;

/** The same requests through ever more of Weft: which of it is used is said by the Services of bench/mesh alone. */
export const FEATURES: Row = {
  number: "6",
  workload: "features",
  title: "what each feature costs, GET 1 KiB, 32 connections",
  ...http(32),
  peers: [
    weft("plain-bytes", 8080, null, VARIANTS.plainBytes),
    weft("plain-bare", 8080, null, VARIANTS.plainHttp),
    weft("plain", 8080, null, VARIANTS.plainPolicy),
    weft("pair-open", 8080, "web-open", VARIANTS.pairOpen),
    weft("pair-bytes", 8080, "web", VARIANTS.pairBytes),
    weft("pair-bare", 8080, "web", VARIANTS.pairHttp),
    weft("pair", 8080, "web", VARIANTS.pairPolicy),
  ],
  threshold: null,
};
