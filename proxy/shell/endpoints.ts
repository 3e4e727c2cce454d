import type { Endpoint } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { Load } from "../balance/load.ts";
import type { LocalIdentity } from "../identity/store.ts";
import type { ClientEvents, ClientStream } from "../protocol/stream.ts";
import type { ProxyError } from "../stack/errors.ts";
import type { OutboundEndpoint } from "../stack/outbound.ts";
import type { Upstream } from "../stack/upstream.ts";
import { CarrierPool, HTTP1, meshConnect } from "./carrier-pool.ts";
import { Http1Pool } from "./http1-client.ts";
import type { Wiring } from "./socket.ts";

export interface EndpointDeps {
  readonly wiring: Wiring;
  readonly identity: () => LocalIdentity | null;
  /** `service` is the key of the endpoints document: whose endpoint it is. */
  onConnection(service: string, carrier: "h2" | "h1", change: 1 | -1): void;
  onHandshake(outcome: "ok" | "failed"): void;
  /** "address:port" of a listener on which this proxy takes requests for others: an endpoint there would be called for ever. */
  isOwnListener(name: string): boolean;
}

/** Timeouts of the connections to an endpoint; of the Service that it belongs to. */
export interface ConnectionSettings {
  /** Key of the endpoints document. */
  readonly service: string;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

/** One endpoint: its load and its connections. Lives as long as the address is an endpoint with this identity, across versions of documents. */
export class LiveEndpoint implements OutboundEndpoint {
  readonly name: string;
  readonly spiffeId: string;
  readonly load = new Load();
  endpoint: Endpoint;
  /** Set when the endpoint is this proxy's own outbound listener. */
  readonly loop: ProxyError | null;
  private readonly carriers: CarrierPool | null;
  private readonly plain: Http1Pool | null;
  /** HTTP/1.1 over mTLS, once the endpoint turned out to be no sidecar. Asked again with every new local identity. */
  private foreign: Http1Pool | null = null;
  private readonly settings: ConnectionSettings;
  private readonly deps: EndpointDeps;

  constructor(endpoint: Endpoint, settings: ConnectionSettings, deps: EndpointDeps) {
    this.endpoint = endpoint;
    this.settings = settings;
    this.deps = deps;
    const { address, port, spiffeId } = endpoint;
    this.name = `${address}:${port}`;
    this.spiffeId = spiffeId;
    this.loop = deps.isOwnListener(this.name)
      ? { code: "WEFT_LOOP", detail: `endpoint ${this.name} of ${settings.service} is this proxy's own outbound listener` }
      : null;
    if (spiffeId === "") {
      this.carriers = null;
      this.plain = new Http1Pool({ address, port, ...settings }, deps.wiring);
      this.plain.onCount = (change) => deps.onConnection(settings.service, "h1", change);
    } else {
      this.plain = null;
      this.carriers = new CarrierPool({ address, port, spiffeId, ...settings }, deps.wiring, deps.identity);
      this.carriers.onCount = (change) => deps.onConnection(settings.service, "h2", change);
      this.carriers.onHandshake = (outcome) => deps.onHandshake(outcome);
      this.carriers.onForeign = () => this.isForeign();
    }
  }

  get ready(): boolean {
    return this.endpoint.ready;
  }

  private isForeign(): void {
    const identity = this.deps.identity();
    if (identity === null || this.foreign !== null) return;
    const { address: host, port } = this.endpoint;
    const secure = () => meshConnect(identity, this.spiffeId, [HTTP1], { host, port }).setNoDelay(true);
    this.foreign = new Http1Pool({ address: host, port, secure, ...this.settings }, this.deps.wiring);
    this.foreign.onCount = (change) => this.deps.onConnection(this.settings.service, "h1", change);
  }

  open(events: ClientEvents, upstream: { upstream: Upstream | null }): ClientStream | ProxyError {
    if (this.loop !== null) return this.loop;
    if (this.foreign !== null) return this.foreign.open(events, upstream);
    if (this.carriers !== null) return this.carriers.open(events, upstream);
    return (this.plain as Http1Pool).open(events, upstream);
  }

  /** The local identity changed: new requests use connections made with the new one. */
  retireOld(version: number): void {
    this.foreign?.close();
    this.foreign = null;
    this.carriers?.retireOld(version);
  }

  /** It is no endpoint any more: requests in progress end on their own. */
  close(): void {
    this.foreign?.close();
    this.carriers?.close();
    this.plain?.close();
  }
}
