import type { Clock, Random } from "#api/clock.ts";
import type { Logger } from "#runtime/logger.ts";
import type { MetricsRegistry } from "#runtime/metrics-server.ts";
import type { KubeClient } from "./client.ts";
import { asKubeError, record, text } from "./kube-error.ts";
import { ELECTION_TIMES, ElectionCore, type ElectionTimes, type LeaseRecord, type Stored } from "./lease-core.ts";
import { apiVersionOf, collectionPath, LEASES, objectPath } from "./resource.ts";

export interface ElectionDeps {
  readonly client: KubeClient;
  /** The Lease's own name and namespace. */
  readonly namespace: string;
  readonly name: string;
  /** Of this process, never used by another one: the pod's name and something random. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** Called once each time that we begin, and cease, to lead. What is written later must ask `leads` itself. */
  readonly onLeading: (leading: boolean) => void;
  readonly times?: ElectionTimes;
}

/** Takes part in the election of one leader through a Lease. */
export class Election {
  readonly #deps: ElectionDeps;
  readonly #times: ElectionTimes;
  readonly #core: ElectionCore;
  #running = false;
  #leading = false;
  #cancelNext: () => void = () => {};
  #cancelEnd: () => void = () => {};
  #attempt: Promise<void> = Promise.resolve();
  #abort = new AbortController();
  /** Who was seen holding it, for the log. */
  #holder = "";

  constructor(deps: ElectionDeps) {
    this.#deps = deps;
    this.#times = deps.times ?? ELECTION_TIMES;
    this.#core = new ElectionCore(deps.identity, this.#times, deps.random);
  }

  /** Whether we lead at this moment; true while nobody else can. Asked before each write that only the leader may make. */
  leads(): boolean {
    return this.#running && this.#core.leads(this.#deps.clock.monotonicMs());
  }

  /** Again while it runs: nothing. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#abort = new AbortController();
    this.#deps.metrics.set("weft_kube_leader", {}, 0);
    this.#try();
  }

  /** Ceases to lead, then gives the lease up, so that another need not wait for its end. Never rejects. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#cancelNext();
    this.#cancelEnd();
    this.#abort.abort();
    await this.#attempt;
    this.#running = false;
    const { clock, logger } = this.#deps;
    const given = this.#core.release(clock.monotonicMs(), clock.wallMs());
    this.#tell(false);
    if (given === null) return;
    try {
      await this.#write("PUT", given.record, given.resourceVersion, undefined);
    } catch (error) {
      logger.info("the lease was not given up; it ends by itself", { lease: this.#deps.name, error: (error as Error).message });
    }
  }

  #try(): void {
    this.#attempt = this.#step().then(() => {
      if (this.#running && !this.#abort.signal.aborted)
        this.#cancelNext = this.#deps.clock.after(this.#core.retryInMs(), () => this.#try());
    });
  }

  /** Reads the lease and acts on it. Never rejects. */
  async #step(): Promise<void> {
    const { clock, logger, name } = this.#deps;
    try {
      const stored = await this.#read();
      const step = this.#core.observed(stored, clock.monotonicMs(), clock.wallMs());
      this.#note(stored);
      if (step.do === "wait") return this.#tell(false);
      const begunMs = clock.monotonicMs();
      const resourceVersion = step.do === "update" ? step.resourceVersion : "";
      const written = await this.#write(step.do === "create" ? "POST" : "PUT", step.record, resourceVersion, this.#abort.signal);
      this.#core.written(written, begunMs);
      this.#tell(this.leads());
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const { status, message } = asKubeError(error);
      // 409: another was faster, which is what an election is.
      logger[status === 409 ? "debug" : "warn"]("the lease was not renewed", { lease: name, status, error: message });
      if (!this.leads()) this.#tell(false);
    }
  }

  async #read(): Promise<Stored> {
    const { client, namespace, name } = this.#deps;
    try {
      const { body } = await client.request({
        method: "GET",
        path: objectPath(LEASES, namespace, name),
        ...this.#bounds(this.#abort.signal),
      });
      return readLease(body);
    } catch (error) {
      if (asKubeError(error).status === 404) return null;
      throw error;
    }
  }

  /** The resourceVersion that it has then. */
  async #write(method: "POST" | "PUT", lease: LeaseRecord, resourceVersion: string, signal: AbortSignal | undefined): Promise<string> {
    const { client, namespace, name } = this.#deps;
    const path = method === "POST" ? collectionPath(LEASES, namespace) : objectPath(LEASES, namespace, name);
    const body = {
      apiVersion: apiVersionOf(LEASES),
      kind: LEASES.kind,
      metadata: { name, namespace, ...(resourceVersion === "" ? {} : { resourceVersion }) },
      spec: {
        holderIdentity: lease.holder,
        leaseDurationSeconds: lease.durationSeconds,
        acquireTime: lease.acquireTime,
        renewTime: lease.renewTime,
        leaseTransitions: lease.transitions,
      },
    };
    const answer = await client.request({ method, path, body, ...this.#bounds(signal) });
    return text(record(record(answer.body)["metadata"])["resourceVersion"]);
  }

  /** A request that hangs must not eat the time in which another attempt could still succeed. */
  #bounds(signal: AbortSignal | undefined) {
    return { idleMs: this.#times.renewDeadlineMs / 2, ...(signal === undefined ? {} : { signal }) };
  }

  #tell(leading: boolean): void {
    const { clock, logger, metrics, name, onLeading } = this.#deps;
    this.#cancelEnd();
    if (leading) this.#cancelEnd = clock.after(this.#core.leadsForMs(clock.monotonicMs()), () => this.#tell(this.leads()));
    if (leading === this.#leading) return;
    this.#leading = leading;
    metrics.set("weft_kube_leader", {}, leading ? 1 : 0);
    logger.info(leading ? "this replica leads now" : "this replica does not lead any more", { lease: name });
    try {
      onLeading(leading);
    } catch (error) {
      logger.error("what follows the election failed", { lease: name, error: String(error) });
    }
  }

  #note(stored: Stored): void {
    const holder = stored?.record.holder ?? "";
    if (holder === this.#holder) return;
    this.#holder = holder;
    this.#deps.logger.info("the lease is held", { lease: this.#deps.name, holder: holder === "" ? "by nobody" : holder });
  }
}

/** A Lease that says nothing readable counts as given up a moment ago: it is taken when it stays so. */
function readLease(body: unknown): Stored {
  const { metadata, spec } = record(body);
  const fields = record(spec);
  const number = (value: unknown, otherwise: number): number => (typeof value === "number" && value >= 0 ? value : otherwise);
  return {
    resourceVersion: text(record(metadata)["resourceVersion"]),
    record: {
      holder: text(fields["holderIdentity"]),
      durationSeconds: number(fields["leaseDurationSeconds"], 1),
      acquireTime: text(fields["acquireTime"]),
      renewTime: text(fields["renewTime"]),
      transitions: number(fields["leaseTransitions"], 0),
    },
  };
}
