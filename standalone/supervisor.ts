import path from "node:path";
import type { ProxyBootstrap } from "#api/bootstrap.ts";
import type { Clock } from "#api/clock.ts";
import { PORTS } from "#api/ports.ts";
import type { Deployment, EndpointSlice, KubeObject, Pod, Service } from "#api/resources/kube.ts";
import { isTrustDomain } from "#api/spiffe.ts";
import type { AddressPool } from "./addresses.ts";
import { Admission } from "./admission.ts";
import { nextSteps, podFromTemplate, templateHash } from "./deployments.ts";
import { drained, pendingSubscribers } from "./drain.ts";
import type { Upstream } from "./environment.ts";
import type { Report } from "./events.ts";
import type { ManifestFolder } from "./folder.ts";
import { byteOrder, canonical, podKey } from "./keys.ts";
import { upstreamNames } from "./manifests.ts";
import { type FieldPlace, type Part, PodProcesses } from "./pod.ts";
import { withReachablePorts } from "./ports.ts";
import type { Programs } from "./programs.ts";
import { MANAGED_BY, MANAGED_BY_LABEL, slicesFor } from "./slices.ts";
import type { ObjectStore } from "./store.ts";
import type { TokenBook } from "./tokens.ts";

export interface SupervisorOptions {
  readonly state: string;
  readonly socketFolder: string;
  /** The folder that is run. */
  readonly root: string;
  readonly inherited: Readonly<Record<string, string>>;
  readonly logLevel: ProxyBootstrap["logLevel"];
  /** Roots that a sidecar starts from; the operator writes it. */
  readonly bundlePath: string;
}

export interface SupervisorDependencies {
  readonly clock: Clock;
  readonly store: ObjectStore;
  readonly pool: AddressPool;
  readonly tokens: TokenBook;
  readonly programs: Programs;
  readonly report: Report;
  /** Where a field of an object stands; null: it is of no file. */
  readonly locate: ManifestFolder["locate"];
}

/** Kinds on which it depends what runs, and where: statuses of policies come by the hundred and move nothing. */
const MOVING = new Set(["Pod", "Deployment", "Service", "EndpointSlice"]);

interface Entry {
  readonly processes: PodProcesses;
  /** "" for a pod of its own, else the Deployment's "namespace/name". */
  readonly owner: string;
  readonly hash: string;
  readonly addresses: readonly string[];
}

/** Makes what runs equal to what the store says, after every change of it; level-based. */
export class Supervisor {
  private readonly entries = new Map<string, Entry>();
  /** Pods that the folder names, with a text that tells them from what they said before. */
  private barePods = new Map<string, { readonly pod: Pod; readonly hash: string }>();
  private scheduled = false;
  private ended = false;
  private launched = false;
  private exhausted = false;
  private adminSockets = 0;
  private fixedTrustDomain: string | null = null;
  private readonly options: SupervisorOptions;
  private readonly deps: SupervisorDependencies;
  private readonly admission: Admission;

  constructor(options: SupervisorOptions, deps: SupervisorDependencies) {
    this.options = options;
    this.deps = deps;
    this.admission = new Admission(deps.store, deps.pool);
    deps.store.subscribe(({ object }) => {
      if (MOVING.has(object.kind)) this.schedule();
    });
  }

  /**
   * Processes may start from now on. Before it pods exist as objects only, with their addresses: the operator, which must
   * be up first, then sees the mesh whole from its first moment.
   */
  launch(): void {
    this.launched = true;
    for (const { processes } of this.entries.values()) processes.start();
  }

  /** Replaces everything that the folder says. Returns how many objects changed. */
  setManifests(objects: readonly KubeObject[]): number {
    const isPod = (object: KubeObject): boolean => object.kind === "Pod";
    return this.admission.take(objects.filter((object) => !isPod(object))) + this.setPods(objects.filter(isPod) as Pod[]);
  }

  /** Returns how many pods came, went or changed. */
  private setPods(objects: readonly Pod[]): number {
    const pods = new Map<string, { pod: Pod; hash: string }>();
    for (const object of objects) {
      const pod = withReachablePorts(object);
      pods.set(podKey(pod), { pod, hash: canonical(pod) });
    }
    let changed = 0;
    for (const [key, { hash }] of pods) if (this.barePods.get(key)?.hash !== hash) changed++;
    for (const key of this.barePods.keys()) if (!pods.has(key)) changed++;
    this.barePods = pods;
    this.schedule();
    return changed;
  }

  /** Immutable from the first manifests on: the operator refuses a change of it, and a sidecar must not believe one. */
  get trustDomain(): string {
    this.fixedTrustDomain ??= this.currentTrustDomain();
    return this.fixedTrustDomain;
  }

  pods(): readonly PodProcesses[] {
    return [...this.entries.values()].map((e) => e.processes).sort((a, b) => byteOrder(a.name, b.name));
  }

  async hold(pod: PodProcesses, part: Part): Promise<void> {
    await pod.hold(part, () => (part === "proxy" ? Promise.resolve() : this.drained()));
  }

  /** Ends every process; what does not end by itself is killed after `graceMs`. */
  async stopAll(graceMs: number): Promise<void> {
    this.ended = true;
    await Promise.all(this.pods().map((p) => p.terminateNow(graceMs)));
  }

  killAll(): void {
    this.ended = true;
    for (const pod of this.pods()) pod.kill();
  }

  private drained(): Promise<void> {
    return drained(this.deps.clock, () => pendingSubscribers(this.deps.pool.operator));
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.reconcile();
    });
  }

  private reconcile(): void {
    if (this.ended) return;
    this.reconcileDeployments();
    this.reconcileBarePods();
    this.reconcileSlices();
  }

  private reconcileDeployments(): void {
    const { store } = this.deps;
    const deployments = new Map((store.list("Deployment") as Deployment[]).map((d) => [podKey(d), d]));
    for (const [key, deployment] of deployments) {
      const namespace = deployment.metadata.namespace ?? "default";
      const hash = templateHash(deployment);
      const owned = [...this.entries.values()].filter((e) => e.owner === key).map((e) => this.owned(e));
      const taken = (name: string): boolean => this.entries.has(`${namespace}/${name}`) || this.barePods.has(`${namespace}/${name}`);
      for (const step of nextSteps(deployment.metadata.name, deployment.spec.replicas ?? 1, hash, owned, taken)) {
        if ("create" in step) this.createPod(withReachablePorts(podFromTemplate(deployment, step.create, hash)), key, hash);
        else this.removePod(`${namespace}/${step.terminate}`);
      }
      this.writeDeploymentStatus(deployment, hash);
    }
    for (const [name, entry] of this.entries) if (entry.owner !== "" && !deployments.has(entry.owner)) this.removePod(name);
  }

  private owned(entry: Entry): { name: string; hash: string; ready: boolean; terminating: boolean } {
    const { name, namespace = "default" } = entry.processes.options.pod.metadata;
    const stored = this.deps.store.get("Pod", namespace, name);
    return { name, hash: entry.hash, ready: entry.processes.ready, terminating: stored?.metadata.deletionTimestamp !== undefined };
  }

  private writeDeploymentStatus(deployment: Deployment, hash: string): void {
    const { name, namespace = "default", generation = 1 } = deployment.metadata;
    const owned = [...this.entries.values()].filter((e) => e.owner === podKey(deployment)).map((e) => this.owned(e));
    const status = {
      observedGeneration: generation,
      replicas: owned.length,
      updatedReplicas: owned.filter((p) => p.hash === hash).length,
      readyReplicas: owned.filter((p) => p.ready).length,
    };
    this.deps.store.setStatus({ kind: "Deployment", namespace, name }, status);
  }

  private reconcileBarePods(): void {
    for (const [key, { pod, hash }] of this.barePods) {
      const entry = this.entries.get(key);
      if (entry === undefined) this.createPod(pod, "", hash);
      // A changed pod is made anew under its name, once the old one has left.
      else if (entry.owner === "" && entry.hash !== hash) this.removePod(key);
    }
    for (const [key, entry] of this.entries) if (entry.owner === "" && !this.barePods.has(key)) this.removePod(key);
  }

  private createPod(template: Pod, owner: string, hash: string): void {
    const { store, pool, tokens, clock, programs, report } = this.deps;
    const { name, namespace = "default" } = template.metadata;
    const services = this.upstreamServices(template);
    const addresses: string[] = [];
    for (let i = 0; i < services.length + 2; i++) {
      const address = pool.take();
      if (address !== null) addresses.push(address);
    }
    const [podAddress, appAddress, ...upstreamAddresses] = addresses;
    if (podAddress === undefined || appAddress === undefined || upstreamAddresses.length < services.length) {
      for (const address of addresses) pool.giveBack(address);
      this.reportExhausted(`${namespace}/${name}`);
      return;
    }
    this.exhausted = false;
    const pod = store.apply(template) as Pod;
    const serviceAccount = pod.spec.serviceAccountName ?? "default";
    const upstreams: Upstream[] = services.map((service, i) => ({ service, address: upstreamAddresses[i]! }));
    const processes = new PodProcesses(
      {
        pod,
        podAddress,
        appAddress,
        upstreams,
        token: tokens.forPod({ namespace, serviceAccount, pod: name, podUid: pod.metadata.uid ?? "" }),
        trustDomain: this.trustDomain,
        operatorAddress: `${pool.operator}:${PORTS.operatorGrpc}`,
        bundlePath: this.options.bundlePath,
        folder: path.join(this.options.state, "pods", `${namespace}.${name}`),
        logFolder: path.join(this.options.state, "logs", namespace),
        adminSocket: path.join(this.options.socketFolder, `p${this.adminSockets++}.sock`),
        root: this.options.root,
        inherited: this.options.inherited,
        logLevel: this.options.logLevel,
      },
      {
        clock,
        programs,
        report,
        onChange: () => this.writePodStatus(`${namespace}/${name}`),
        locate: (field) => this.locate(namespace, name, owner, field),
      },
    );
    this.entries.set(`${namespace}/${name}`, { processes, owner, hash, addresses });
    this.writePodStatus(`${namespace}/${name}`);
    if (this.launched) processes.start();
  }

  /** A pod of a Deployment stands in that one's template. */
  private locate(namespace: string, name: string, owner: string, field: string): FieldPlace {
    const isOwn = owner === "";
    const kind = isOwn ? "Pod" : "Deployment";
    const object = isOwn ? name : owner.slice(owner.indexOf("/") + 1);
    const path = isOwn ? field : `spec.template.${field}`;
    const at = this.deps.locate(kind, namespace, object, path) ?? { file: `${kind} ${namespace}/${object}`, line: 1, column: 1 };
    return { ...at, path };
  }

  private removePod(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    const { name, namespace = "default", uid = "" } = entry.processes.options.pod.metadata;
    if (this.deps.store.get("Pod", namespace, name)?.metadata.deletionTimestamp !== undefined) return;
    this.deps.store.markDeleting("Pod", namespace, name);
    void entry.processes
      .terminate(() => this.drained())
      .then(() => {
        this.entries.delete(key);
        this.deps.tokens.revokePod(uid);
        for (const address of entry.addresses) this.deps.pool.giveBack(address);
        this.deps.store.remove("Pod", namespace, name);
        if (!this.ended) this.deps.report({ type: "pod-removed", pod: key });
      });
  }

  private upstreamServices(pod: Pod): readonly Service[] {
    const only = upstreamNames(pod.metadata.annotations);
    const all = (this.deps.store.list("Service") as Service[]).filter(
      (s) => s.metadata.namespace === pod.metadata.namespace && s.spec.type !== "ExternalName",
    );
    return only === null ? all : all.filter((s) => only.includes(s.metadata.name));
  }

  private reportExhausted(pod: string): void {
    if (this.exhausted) return;
    this.exhausted = true;
    const remedy =
      "name the Services that its pods call in annotation weft.dev/upstreams: without it each pod takes an address per Service of its namespace";
    this.deps.report({
      type: "warning",
      code: "WEFT_RANGE_EXHAUSTED",
      message: `pod ${pod} gets no addresses: the range ${this.deps.pool.cidr} is used up`,
      remedy,
    });
  }

  private writePodStatus(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    const { processes } = entry;
    const { name, namespace = "default" } = processes.options.pod.metadata;
    const { reason, message } = processes.state;
    const ready = processes.ready;
    const status = {
      phase: ready || reason === "AppNotListening" || reason === "Stopped" || reason === "Terminating" ? "Running" : "Pending",
      podIP: processes.options.podAddress,
      appAddress: processes.options.appAddress,
      restarts: processes.restarts,
      conditions: [{ type: "Ready", status: ready ? "True" : "False", reason, message }],
    };
    this.deps.store.setStatus({ kind: "Pod", namespace, name }, status);
  }

  private reconcileSlices(): void {
    const { store } = this.deps;
    const pods = store.list("Pod") as Pod[];
    const wanted = new Map<string, EndpointSlice>();
    for (const service of store.list("Service") as Service[])
      for (const slice of slicesFor(service, pods)) wanted.set(podKey(slice), slice);
    for (const slice of store.list("EndpointSlice")) {
      if (slice.metadata.labels?.[MANAGED_BY_LABEL] === MANAGED_BY && !wanted.has(podKey(slice)))
        store.remove("EndpointSlice", slice.metadata.namespace ?? "", slice.metadata.name);
    }
    for (const slice of wanted.values()) store.apply(slice);
  }

  private currentTrustDomain(): string {
    const mesh = this.deps.store.get("MeshIdentity", "weft-system", "mesh");
    const { trustDomain } = (mesh?.spec ?? {}) as { trustDomain?: unknown };
    return typeof trustDomain === "string" && isTrustDomain(trustDomain) ? trustDomain : "cluster.local";
  }
}
