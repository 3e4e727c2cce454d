import { once } from "node:events";
import tls from "node:tls";
import { create } from "@bufbuild/protobuf";
import type { Clock } from "#api/clock.ts";
import { MtlsMode, Protocol, type Workload, WorkloadSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import type { LocalIdentity } from "../identity/store.ts";
import { type Authority, makeAuthority } from "../identity/testdata/authority.ts";
import type { ResponseHead } from "../protocol/stream.ts";
import type { ProxyError } from "../stack/errors.ts";
import type { Upstream } from "../stack/upstream.ts";
import { Registry } from "../telemetry/metrics.ts";
import { CarrierPool } from "./carrier-pool.ts";
import { InboundListener } from "./inbound.ts";
import { type Backend, backend, deadPort, End, Heard, type Rig, rig, track } from "./test-sockets.ts";

/** For tests of the shell: the inbound side of a pod on loopback with certificates made for the occasion. */

export const TRUST_DOMAIN = "cluster.local";
export const idOf = (serviceAccount: string): string => `spiffe://${TRUST_DOMAIN}/ns/shop/sa/${serviceAccount}`;

export class Certificates {
  readonly authority: Authority;

  private constructor(authority: Authority) {
    this.authority = authority;
  }

  static async make(): Promise<Certificates> {
    return new Certificates(await makeAuthority());
  }

  /** `uris`: in place of the one that belongs to the service account. */
  async identity(serviceAccount: string, version = 1, uris: readonly string[] = [idOf(serviceAccount)]): Promise<LocalIdentity> {
    const issued = await this.authority.issue({ uris });
    const tlsOptions = { key: issued.keyPem, cert: issued.pem, ca: this.authority.rootPem };
    return {
      version,
      spiffeId: idOf(serviceAccount) as LocalIdentity["spiffeId"],
      trustDomain: TRUST_DOMAIN,
      keyPem: issued.keyPem,
      chainPem: issued.pem,
      rootsPem: this.authority.rootPem,
      bundleVersion: "1",
      notAfterMs: 0,
      tlsOptions,
      clientContext: tls.createSecureContext({ ...tlsOptions, minVersion: "TLSv1.3" }),
    };
  }
}

export interface PodOptions {
  readonly identity: LocalIdentity;
  readonly mode?: MtlsMode;
  readonly protocol?: Protocol;
  readonly clock?: Clock;
  /** What the app does with a connection. */
  readonly app?: (end: End) => void;
  readonly appPort?: number;
}

/** A pod: its app and its inbound listener, on addresses of their own. */
export class Pod implements Rig {
  readonly wiring: Rig["wiring"];
  readonly deadlines: Rig["deadlines"];
  readonly account: Rig["account"];
  readonly clock: Clock;
  readonly app: Backend;
  readonly port: number;
  readonly address = "127.0.0.2";
  readonly listener: InboundListener;
  readonly registry: Registry;
  readonly errors: ProxyError[] = [];
  readonly workload: Workload;
  identity: LocalIdentity | null;
  draining = false;
  overloaded = false;

  private constructor(options: PodOptions, app: Backend, port: number) {
    this.clock = options.clock ?? new ManualClock();
    const { wiring, deadlines, account } = rig(this.clock);
    this.wiring = wiring;
    this.deadlines = deadlines;
    this.account = account;
    this.app = app;
    this.port = port;
    this.identity = options.identity;
    this.registry = new Registry(this.clock);
    this.workload = create(WorkloadSchema, {
      mtlsMode: options.mode ?? MtlsMode.STRICT,
      ports: [{ port, protocol: options.protocol ?? Protocol.HTTP }],
    });
    this.listener = new InboundListener(
      { podAddress: this.address, port, appAddress: app.host, appPort: options.appPort ?? app.port },
      {
        wiring,
        deadlines,
        registry: this.registry,
        identity: () => this.identity,
        workload: () => this.workload,
        draining: () => this.draining,
        overloaded: () => this.overloaded,
        log: (error) => this.errors.push(error),
      },
    );
  }

  static async start(options: PodOptions): Promise<Pod> {
    const pod = new Pod(options, await backend(options.app ?? httpApp), await deadPort());
    await pod.listener.listen();
    pod.listener["server"].on("connection", track);
    track({ destroy: () => pod.listener.close() });
    return pod;
  }

  drain(): void {
    this.draining = true;
    this.listener.drain();
  }

  /** Sum of a metric over its labels. */
  metric(name: string): number {
    let sum = 0;
    for (const family of this.registry.collect()) {
      if (family.name !== name) continue;
      for (const s of family.series) sum += s.page[s.offset] ?? 0;
    }
    return sum;
  }

  get codes(): string[] {
    return this.errors.map((e) => e.code);
  }

  carriers(identity: () => LocalIdentity | null, spiffeId: string, more: Partial<CarrierPool["target"]> = {}): CarrierPool {
    const target = { address: this.address, port: this.port, spiffeId, connectTimeoutMs: 5_000, idleTimeoutMs: 60_000, ...more };
    return new CarrierPool(target, this.wiring, identity);
  }

  /** A TLS client of any kind; null when the handshake, or what follows at once, fails. */
  async secure(options: tls.ConnectionOptions): Promise<End | null> {
    const socket = tls.connect({
      host: this.address,
      port: this.port,
      rejectUnauthorized: false,
      allowHalfOpen: true,
      ...options,
    } as tls.ConnectionOptions);
    const end = new End(socket);
    await Promise.race([once(socket, "secureConnect"), once(socket, "close"), once(socket, "error")]).catch(() => {});
    return socket.destroyed || socket.getProtocol() === null ? null : end;
  }
}

/** Answers each request with all of its head as body. */
export function httpApp(end: End): void {
  let seen = 0;
  end.socket.on("data", () => {
    for (;;) {
      const at = end.text.indexOf("\r\n\r\n", seen);
      if (at < 0) return;
      const head = end.text.slice(seen, at + 2);
      seen = at + 4;
      end.write(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`);
    }
  });
}

/** A request on a carrier. */
export class CarrierCall extends Heard<ResponseHead> {
  readonly holder: { upstream: Upstream | null } = { upstream: null };
  refusal: ProxyError | null = null;

  get over(): boolean {
    return this.end || this.reset !== "" || this.refusal !== null;
  }
}

export function callOver(
  pool: CarrierPool,
  head: Parameters<CarrierCall["onHead"]>[0],
  end = true,
): CarrierCall & { stream: import("../protocol/stream.ts").ClientStream } {
  const call = new CarrierCall();
  const stream = pool.open(call, call.holder);
  if ("code" in stream) call.refusal = stream;
  else {
    call.stream = stream;
    stream.writeHead(head as never, end);
  }
  return call as never;
}
