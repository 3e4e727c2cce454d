import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  EndpointSchema,
  LoadBalancer,
  Protocol,
  type ServiceSchema,
  ServiceSchema as Schema,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { compileService } from "#mesh/decide/compile.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import type { DocumentStore, EndpointSet, ServiceSnapshot } from "../control/documents.ts";
import type { LocalIdentity } from "../identity/store.ts";
import type { ProxyError } from "../stack/errors.ts";
import { Registry } from "../telemetry/metrics.ts";
import { ServiceTable } from "./services.ts";
import { type Rig, rig } from "./test-sockets.ts";

export const KEY = "service/shop/app/80";
export const ENDPOINTS = "endpoints/shop/app/80";

/** For tests of the shell: documents that change when a test says so, and the table of services made of them. */
export class Documents {
  private readonly snapshots = new Map<string, ServiceSnapshot | null>();
  private readonly sets = new Map<string, EndpointSet>();
  private service_: (key: string, snapshot: ServiceSnapshot | null) => void = () => {};
  private endpoints_: (key: string, set: EndpointSet) => void = () => {};
  private forgotten_: (key: string) => void = () => {};
  private waiters: ((snapshot: ServiceSnapshot | null | undefined) => void)[] = [];
  private version = 0;

  readonly store = {
    service: (key: string) => this.snapshots.get(key),
    endpoints: (key: string) => this.sets.get(key),
    whenService: (key: string, _waitMs: number, f: (snapshot: ServiceSnapshot | null | undefined) => void) => {
      if (this.snapshots.has(key)) f(this.snapshots.get(key));
      else this.waiters.push(f);
      return () => {
        this.waiters = this.waiters.filter((w) => w !== f);
      };
    },
    onService: (f: typeof this.service_) => (this.service_ = f),
    onEndpoints: (f: typeof this.endpoints_) => (this.endpoints_ = f),
    onForgotten: (f: typeof this.forgotten_) => (this.forgotten_ = f),
  } as unknown as DocumentStore;

  get waiting(): number {
    return this.waiters.length;
  }

  service(more: MessageInitShape<typeof ServiceSchema> = {}): void {
    const cluster = {
      name: "shop/app:80",
      endpoints: ENDPOINTS,
      loadBalancer: LoadBalancer.ROUND_ROBIN,
      connectTimeoutMs: 1_000,
      idleTimeoutMs: 60_000,
    };
    const document = create(Schema, { namespace: "shop", name: "app", port: 80, protocol: Protocol.HTTP, clusters: [cluster], ...more });
    const snapshot = { key: KEY, version: String(++this.version), service: compileService(document) };
    this.snapshots.set(KEY, snapshot);
    this.service_(KEY, snapshot);
    this.settle(snapshot);
  }

  gone(): void {
    this.snapshots.set(KEY, null);
    this.service_(KEY, null);
    this.settle(null);
  }

  /** The wait is over and nothing was heard. */
  silence(): void {
    this.settle(undefined);
  }

  forget(): void {
    this.snapshots.delete(KEY);
    this.forgotten_(KEY);
  }

  endpoints(...list: MessageInitShape<typeof EndpointSchema>[]): void {
    const set: EndpointSet = {
      key: ENDPOINTS,
      version: String(++this.version),
      list: list.map((e) => create(EndpointSchema, { ready: true, ...e })),
    };
    this.sets.set(ENDPOINTS, set);
    this.endpoints_(ENDPOINTS, set);
  }

  private settle(snapshot: ServiceSnapshot | null | undefined): void {
    for (const f of this.waiters.splice(0)) f(snapshot);
  }
}

export class Services implements Rig {
  readonly clock = new ManualClock();
  readonly documents = new Documents();
  readonly registry = new Registry(this.clock);
  readonly errors: ProxyError[] = [];
  readonly wiring: Rig["wiring"];
  readonly deadlines: Rig["deadlines"];
  readonly account: Rig["account"];
  readonly table: ServiceTable;
  identity: LocalIdentity | null = null;
  connections = 0;
  readonly ownListeners = new Set<string>();

  constructor() {
    const { wiring, deadlines, account } = rig(this.clock);
    this.wiring = wiring;
    this.deadlines = deadlines;
    this.account = account;
    const nowMs = (): number => this.clock.monotonicMs();
    this.table = new ServiceTable({
      documents: this.documents.store,
      registry: this.registry,
      random: () => 0,
      nowMs,
      endpoint: {
        wiring,
        identity: () => this.identity,
        onConnection: (_service, _carrier, change) => {
          this.connections += change;
        },
        onHandshake: () => {},
        isOwnListener: (name) => this.ownListeners.has(name),
      },
      outbound: { random: () => 0, nowMs, overloaded: () => account.full, log: (error) => this.errors.push(error) },
    });
  }
}
