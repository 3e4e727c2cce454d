import type { Clock, Random } from "#api/clock.ts";
import type { MetricName } from "#api/metrics.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Attestor, Change, Source, StatusWriter } from "#api/store.ts";
import { Authority, type AuthorityOptions } from "#ca/authority.ts";
import type { DirtyKeys, MeshSettings } from "#mesh/plan/plan.ts";
import type { Logger } from "#runtime/logger.ts";
import { type AdminServer, MetricsRegistry, startAdminServer } from "#runtime/metrics-server.ts";
import { Shutdown } from "#runtime/shutdown.ts";
import { GrpcServer } from "./grpc-server.ts";
import { Hub } from "./hub.ts";
import { IdentityServer } from "./identity-service.ts";
import { LastGoodFile } from "./last-good.ts";
import { Resources, TRUST_KEY } from "./resources.ts";
import { StatusQueue } from "./status-queue.ts";
import { Statuses } from "./statuses.ts";

export interface OperatorOptions {
  readonly source: Source;
  readonly statusWriter: StatusWriter;
  readonly attestor: Attestor;
  readonly clock: Clock;
  /** For spreading times out. */
  readonly random: Random;
  /** Cryptographically secure, for serials. */
  readonly randomBytes: (n: number) => Uint8Array;
  readonly logger: Logger;
  /** Owner-only folder: the CA's keys, the last good policies, and `bundle.pem` with the public roots. */
  readonly stateDir: string;
  /** Port 0: any free one. */
  readonly listen: { readonly address: string; readonly grpcPort: number; readonly adminPort: number };
  /** With OPERATOR_METRICS, and whatever else this binary counts; default: those alone. */
  readonly metrics?: MetricsRegistry;
  /** Opens the CA; default: `Authority.open`, of the state folder alone. Rejecting ends the start. */
  readonly openAuthority?: (options: AuthorityOptions) => Promise<Authority>;
}

export interface Operator {
  /**
   * Admin server first (a probe must see it wait), then the resources, the CA once the trust domain is known, then the
   * gRPC port. Resolves when it serves; rejects when it cannot (StateError: a broken state folder), and then has stopped.
   */
  start(): Promise<void>;
  readonly grpcPort: number;
  readonly adminPort: number;
  readonly trustDomain: string;
  /** Says Goodbye on every stream and ends all in order. Never rejects. */
  stop(): Promise<void>;
}

export const OPERATOR_METRICS: readonly MetricName[] = [
  "weft_operator_services",
  "weft_operator_endpoints",
  "weft_operator_source_connected",
  "weft_operator_streams",
  "weft_document_subscribers",
  "weft_document_nacks_total",
  "weft_operator_plan_duration_seconds",
  "weft_operator_propagation_seconds",
  "weft_ca_issued_total",
  "weft_ca_issuer_expiry_timestamp_seconds",
  "weft_ca_root_expiry_timestamp_seconds",
];

/** Streams get this long to end by themselves; a proxy that got Goodbye changes over within half a second. */
const STOP_GRACE_MS = 700;
const STOP_STEP_MS = 3000;
const ISSUER_CHECK_MS = 60_000;

/** Puts an operator together; nothing runs before `start`. */
export function createOperator(options: OperatorOptions): Operator {
  return new RunningOperator(options);
}

class RunningOperator implements Operator {
  trustDomain = "";
  readonly #options: OperatorOptions;
  readonly #metrics: MetricsRegistry;
  readonly #resources = new Resources();
  readonly #lastGood: LastGoodFile;
  readonly #hub: Hub;
  readonly #statuses: Statuses;
  readonly #shutdown: Shutdown;
  #admin: AdminServer | null = null;
  #grpc: GrpcServer | null = null;
  #authority: Authority | null = null;
  #synced = false;
  #onFirstSync: () => void = () => {};

  constructor(options: OperatorOptions) {
    const { clock, logger, random } = options;
    this.#options = options;
    this.#metrics = options.metrics ?? new MetricsRegistry(OPERATOR_METRICS);
    this.#shutdown = new Shutdown(clock, logger);
    this.#lastGood = new LastGoodFile(options.stateDir, clock, logger);
    this.#hub = new Hub({
      plan: (key) => this.#resources.plan(key),
      revision: () => this.#resources.revision,
      clock,
      random,
      logger,
      metrics: this.#metrics,
      onProgress: (keys) => this.#statuses.progressed(keys),
    });
    this.#statuses = new Statuses(this.#resources, this.#hub, new StatusQueue(options.statusWriter, clock, logger), clock);
  }

  get grpcPort(): number {
    return this.#grpc?.port ?? 0;
  }

  get adminPort(): number {
    return this.#admin?.port ?? 0;
  }

  stop(): Promise<void> {
    return this.#shutdown.run();
  }

  async start(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { listen, logger } = this.#options;
    this.#shutdown.add("statuses", STOP_STEP_MS, () => this.#statuses.stop());
    this.#metrics.onScrape(() => this.#gauges());
    const admin = await startAdminServer({
      address: listen.address,
      port: listen.adminPort,
      metrics: this.#metrics,
      notReady: () => this.#notReady(),
      logger,
    });
    this.#admin = admin;
    this.#shutdown.add("admin server", STOP_STEP_MS, () => admin.close());
    await this.#followSource();
    const authority = await this.#openAuthority();
    const grpc = await GrpcServer.start(this.#serverDeps(authority), listen.address, listen.grpcPort);
    if (this.#shutdown.begun) return grpc.close(0);
    this.#grpc = grpc;
    this.#shutdown.add("gRPC server", STOP_GRACE_MS + STOP_STEP_MS, () => grpc.close(STOP_GRACE_MS));
    this.#checkIssuer(authority);
    logger.info("operator ready", { address: listen.address, grpcPort: grpc.port, adminPort: admin.port, trustDomain: this.trustDomain });
  }

  /** Resolves with the first listing. */
  #followSource(): Promise<void> {
    const { source, logger } = this.#options;
    const synced = new Promise<void>((resolve) => {
      this.#onFirstSync = resolve;
    });
    this.#metrics.set("weft_operator_source_connected", {}, 0);
    source.start({
      onSync: (objects, revision) => this.#sync(objects, revision),
      onChange: (change) => this.#change(change),
      onConnected: (connected) => {
        this.#metrics.set("weft_operator_source_connected", {}, connected ? 1 : 0);
        logger[connected ? "info" : "warn"](
          connected ? "the resource store is connected" : "the resource store cannot be reached; what was planned stays in force",
        );
      },
    });
    this.#shutdown.add("resource store", STOP_STEP_MS, () => {
      source.close();
      this.#lastGood.flush();
    });
    return synced;
  }

  async #openAuthority(): Promise<Authority> {
    const { stateDir, clock, randomBytes, openAuthority = Authority.open } = this.#options;
    const { trustDomain, rootTtlMs, issuerTtlMs } = this.#resources.mesh();
    const authority = await openAuthority({ stateDir, trustDomain, rootTtlMs, issuerTtlMs, clock, randomBytes });
    this.#authority = authority;
    this.trustDomain = trustDomain;
    this.#resources.setTrust(trustDomain, authority.roots());
    this.#hub.invalidate([TRUST_KEY]);
    return authority;
  }

  #serverDeps(authority: Authority) {
    const { attestor, clock, random, logger } = this.#options;
    const settings = (): MeshSettings => this.#resources.mesh();
    const identity = new IdentityServer({ authority, attestor, clock, logger, metrics: this.#metrics, settings });
    return { authority, identity, hub: this.#hub, clock, random, logger, ttlMs: () => settings().ttlMs };
  }

  #sync(objects: readonly KubeObject[], revision = ""): void {
    this.#statuses.forgetSaid();
    this.#take(this.#resources.replace(objects, this.#synced ? null : this.#lastGood.load(), revision));
    this.#options.logger.info("resources listed", { objects: objects.length });
    if (this.#synced) return;
    this.#synced = true;
    this.#onFirstSync();
  }

  #change(change: Change): void {
    this.#take(this.#resources.apply(change));
  }

  #take(dirty: DirtyKeys): void {
    this.#hub.invalidate(dirty.documents);
    this.#statuses.invalidate(dirty.statuses);
    if (dirty.accepted.size > 0) this.#lastGood.save(() => this.#resources.index.lastGood);
    if (dirty.mesh && this.#authority !== null) this.#authority.issuerTtlMs = this.#resources.mesh().issuerTtlMs;
  }

  #notReady(): string | null {
    if (this.#shutdown.begun) return "stopping";
    if (!this.#synced) return "the resources are not listed yet";
    return this.#grpc === null ? "the CA is not ready yet" : null;
  }

  #gauges(): void {
    this.#metrics.set("weft_operator_services", {}, this.#resources.services());
    this.#metrics.set("weft_operator_endpoints", {}, this.#resources.endpoints());
    if (this.#authority === null) return;
    this.#metrics.set("weft_ca_issuer_expiry_timestamp_seconds", {}, this.#authority.issuerNotAfterMs / 1000);
    this.#metrics.set("weft_ca_root_expiry_timestamp_seconds", {}, this.#authority.rootNotAfterMs / 1000);
  }

  /** An operator that nobody asks for certificates renews its issuer all the same. */
  #checkIssuer(authority: Authority): void {
    const { clock, logger } = this.#options;
    let cancel = (): void => {};
    const check = (): void => {
      try {
        authority.renewIfDue();
      } catch (error) {
        logger.error("the issuer was not renewed", { error: (error as Error).message });
      }
      cancel = clock.after(ISSUER_CHECK_MS, check);
    };
    cancel = clock.after(ISSUER_CHECK_MS, check);
    this.#shutdown.add("issuer renewal", STOP_STEP_MS, () => cancel());
  }
}
