import type { Clock, Random } from "#api/clock.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import type { Logger } from "#runtime/logger.ts";
import type { MetricsRegistry } from "#runtime/metrics-server.ts";
import type { KubeClient } from "./client.ts";
import { asKubeError, errorOf, type KubeError, record, SilentConnection, text } from "./kube-error.ts";
import { type Failure, type ReflectorEffect, type ReflectorInput, ReflectorCore } from "./reflector-core.ts";
import { apiVersionOf, collectionPath, nameOf, type Resource } from "./resource.ts";
import { strip } from "./strip.ts";

export interface ReflectorHandlers {
  /** Everything there is, once; `resourceVersion` is the list's. */
  onSync(objects: readonly KubeObject[], resourceVersion: string): void;
  /** Every change after it. Levels: the same object may come twice. */
  onChange(change: Change): void;
  /** The API server cannot be reached (false), or can be again. */
  onConnected(connected: boolean): void;
}

export interface ReflectorDeps {
  readonly client: KubeClient;
  readonly resource: Resource;
  readonly handlers: ReflectorHandlers;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** "": all namespaces. */
  readonly namespace?: string;
  /** The kind may be absent: then there is nothing of it, until it appears. */
  readonly optional?: boolean;
  /** Keeps of an object what somebody reads; default: all but what only kubectl reads. */
  readonly transform?: (object: KubeObject) => KubeObject;
}

/**
 * Longest silence of a watch, milliseconds. The server sends a bookmark about once a minute, so a connection without one
 * may be half-open (a peer, a NAT or a load balancer forgot it). Or it is of a kind that the server has seen no event of
 * since it started, or does not cache: then there are no bookmarks, and a watch so often is what that costs.
 */
export const WATCH_IDLE_MS = 90_000;
/** A handler that threw gets what it missed after this long, milliseconds. */
const AGAIN_MS = 1000;

/** Keeps a copy of all objects of a kind and tells of every change. Never rejects and never gives up until `stop`. */
export class Reflector {
  readonly #deps: ReflectorDeps;
  readonly #core: ReflectorCore;
  readonly #transform: (object: KubeObject) => KubeObject;
  #abort = new AbortController();
  #cancelWait: () => void = () => {};
  /** What a handler threw on, by name: the newest change of each. */
  readonly #missed = new Map<string, Change>();
  #missedSync: (() => void) | null = null;
  #cancelAgain: (() => void) | null = null;
  #lastEventMs: number;

  constructor(deps: ReflectorDeps) {
    this.#deps = deps;
    this.#core = new ReflectorCore({ random: deps.random, optional: deps.optional ?? false });
    this.#transform = deps.transform ?? strip;
    this.#lastEventMs = deps.clock.monotonicMs();
    deps.metrics.onScrape(() => {
      const ageMs = deps.clock.monotonicMs() - this.#lastEventMs;
      deps.metrics.set("weft_kube_last_event_age_seconds", { resource: deps.resource.plural }, ageMs / 1000);
    });
  }

  /** Whether everything there is has been told once. */
  isSynced(): boolean {
    return this.#core.synced;
  }

  get resourceVersion(): string {
    return this.#core.resourceVersion;
  }

  objects(): IterableIterator<KubeObject> {
    return this.#core.mirror.objects();
  }

  /** Null: there is none of the name. "" is the namespace of what has none. */
  get(namespace: string, name: string): KubeObject | null {
    return this.#core.mirror.get(namespace, name);
  }

  /** Again while it runs: nothing. After `stop`: it goes on with what it had and tells what changed. */
  start(): void {
    this.#input({ type: "start" });
    if (this.#missed.size > 0 || this.#missedSync !== null) this.#later();
  }

  /** At once: no request is left, and no handler is called any more. */
  stop(): void {
    this.#input({ type: "stop" });
    this.#cancelAgain?.();
    this.#cancelAgain = null;
  }

  #input(input: ReflectorInput): void {
    for (const effect of this.#core.on(input, this.#deps.clock.monotonicMs())) {
      // A handler may have stopped us: what was to be asked then is not asked any more.
      if (!("request" in effect) || this.#core.awaits(effect.request)) this.#do(effect);
    }
  }

  #do(effect: ReflectorEffect): void {
    switch (effect.do) {
      case "cancel":
        this.#abort.abort();
        this.#abort = new AbortController();
        this.#cancelWait();
        return;
      case "wait":
        this.#cancelWait = this.#deps.clock.after(effect.ms, () => this.#input({ type: "due", request: effect.request }));
        return;
      case "list":
        void this.#list(effect, this.#abort.signal);
        return;
      case "watch":
        void this.#watch(effect, this.#abort.signal);
        return;
      case "synced":
        this.#sync(effect.objects, effect.resourceVersion);
        return;
      case "change":
        this.#change(effect.change);
        return;
      case "connected":
        this.#guard(() => this.#deps.handlers.onConnected(effect.connected));
    }
  }

  async #list({ request, continueToken, limit }: Extract<ReflectorEffect, { do: "list" }>, signal: AbortSignal): Promise<void> {
    const { client, resource, namespace } = this.#deps;
    const query = { ...(limit > 0 ? { limit: String(limit) } : {}), ...(continueToken === "" ? {} : { continue: continueToken }) };
    let page: ReflectorInput;
    try {
      const { body } = await client.request({ method: "GET", path: collectionPath(resource, namespace), query, signal });
      const { metadata, items } = record(body);
      const { resourceVersion, continue: next } = record(metadata);
      if (!Array.isArray(items) || text(resourceVersion) === "") throw new Error("the answer is no list");
      const objects = items.flatMap((item) => this.#read(item));
      page = { type: "page", request, objects, resourceVersion: text(resourceVersion), continueToken: text(next) };
    } catch (error) {
      if (signal.aborted) return;
      const failure = failureOf(asKubeError(error), false);
      // That there is none of it is something said of it.
      if (failure.kind === "missing") this.#lastEventMs = this.#deps.clock.monotonicMs();
      this.#count("weft_kube_lists_total", failure.kind);
      this.#say("list", failure);
      return this.#input({ type: "listFailed", request, failure });
    }
    if (signal.aborted) return;
    this.#lastEventMs = this.#deps.clock.monotonicMs();
    this.#count("weft_kube_lists_total", "ok");
    this.#input(page);
  }

  async #watch(
    { request, resourceVersion, timeoutSeconds }: Extract<ReflectorEffect, { do: "watch" }>,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, resource, namespace } = this.#deps;
    const query = { watch: "1", allowWatchBookmarks: "true", timeoutSeconds: String(timeoutSeconds), resourceVersion };
    const path = collectionPath(resource, namespace);
    let failure: Failure | null = null;
    try {
      const opened = (): void => this.#input({ type: "opened", request });
      await client.lines({ method: "GET", path, query, signal, idleMs: WATCH_IDLE_MS }, opened, (line) => {
        if (signal.aborted) return;
        failure = this.#line(request, line);
        // Ends the reading; what is told is `failure`.
        if (failure !== null) throw new Error(failure.kind);
      });
    } catch (error) {
      failure ??= failureOf(asKubeError(error), true);
    }
    if (signal.aborted) return;
    this.#count("weft_kube_watches_total", (failure as Failure | null)?.kind ?? "ok");
    if (failure !== null) this.#say("watch", failure);
    this.#input({ type: "watchEnded", request, failure });
  }

  /** One event of a watch. Null: go on; otherwise the watch is of no use any more. */
  #line(request: number, line: string): Failure | null {
    this.#lastEventMs = this.#deps.clock.monotonicMs();
    let event: Readonly<Record<string, unknown>>;
    try {
      event = record(JSON.parse(line));
    } catch {
      return { kind: "confused", message: "a line of the watch is no JSON" };
    }
    const { type, object } = event;
    if (type === "ERROR") return failureOfEvent(object);
    if (type === "BOOKMARK") {
      const { resourceVersion } = record(record(object)["metadata"]);
      this.#input({ type: "bookmark", request, resourceVersion: text(resourceVersion) });
      return null;
    }
    if (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED")
      return { kind: "confused", message: "an event of the watch has an unknown type" };
    const [read] = this.#read(object);
    if (read === undefined) return { kind: "confused", message: "an event of the watch holds no object" };
    this.#input({ type: "event", request, event: type, object: read });
    return null;
  }

  /** None for what is no object. Items of lists do not say their kind. */
  #read(value: unknown): KubeObject[] {
    const fields = record(value);
    const { name, uid } = record(fields["metadata"]);
    if (typeof name !== "string" || name === "" || typeof uid !== "string") return [];
    const { resource } = this.#deps;
    const object = { ...fields, apiVersion: apiVersionOf(resource), kind: resource.kind } as unknown as KubeObject;
    try {
      return [this.#transform(object)];
    } catch (error) {
      this.#threw(error, nameOf(object));
      return [strip(object)];
    }
  }

  #sync(objects: readonly KubeObject[], resourceVersion: string): void {
    if (this.#guard(() => this.#deps.handlers.onSync(objects, resourceVersion))) return;
    this.#missedSync = () => this.#sync([...this.objects()], this.resourceVersion);
    this.#later();
  }

  #change(change: Change): void {
    // What was missed whole is told whole.
    if (this.#missedSync !== null) return;
    const key = nameOf(change.object);
    this.#missed.delete(key);
    if (this.#core.running && this.#guard(() => this.#deps.handlers.onChange(change), key)) return;
    this.#missed.set(key, change);
    this.#later();
  }

  #later(): void {
    if (!this.#core.running) return;
    this.#cancelAgain ??= this.#deps.clock.after(AGAIN_MS, () => {
      this.#cancelAgain = null;
      const sync = this.#missedSync;
      this.#missedSync = null;
      sync?.();
      for (const change of [...this.#missed.values()]) this.#change(change);
    });
  }

  /** Whether the handler took it. */
  #guard(call: () => void, object = ""): boolean {
    try {
      call();
      return true;
    } catch (error) {
      this.#threw(error, object);
      return false;
    }
  }

  #threw(error: unknown, object: string): void {
    const { logger, metrics, resource } = this.#deps;
    metrics.add("weft_kube_handler_errors_total", { resource: resource.plural });
    logger.error("a handler of changes failed; it gets them again", { resource: resource.plural, object, error: String(error) });
  }

  #count(name: "weft_kube_lists_total" | "weft_kube_watches_total", outcome: "ok" | Failure["kind"]): void {
    this.#deps.metrics.add(name, { resource: this.#deps.resource.plural, outcome });
  }

  #say(what: "list" | "watch", failure: Failure): void {
    const { resource, logger, optional } = this.#deps;
    const quiet = failure.kind === "expired" || failure.kind === "silent" || (failure.kind === "missing" && optional === true);
    const missing =
      failure.kind === "missing" ? "the cluster has no such kind: install its definition (chart weft-crds has Weft's)" : failure.kind;
    const error = "message" in failure ? failure.message : missing;
    logger[quiet ? "debug" : "warn"](`a ${what} of the API server ended`, { resource: resource.plural, reason: failure.kind, error });
  }
}

/** An ERROR event. Whatever its code, the revision we have may be part of the trouble, so only a request to slow down keeps it. */
function failureOfEvent(object: unknown): Failure {
  const error = errorOf(0, object, undefined);
  const failure = failureOf(error, true);
  if (failure.kind === "expired" || failure.kind === "throttled") return failure;
  return { kind: "confused", message: `the watch said ${error.status} ${error.reason}: ${error.message}` };
}

/** What the core must know of an error. */
export function failureOf(error: KubeError, ofWatch: boolean): Failure {
  const { status, reason, retryAfterMs, causes, message } = error;
  if (ofWatch && error instanceof SilentConnection) return { kind: "silent" };
  if (status === 410 || reason === "Expired" || reason === "Gone") return { kind: "expired" };
  if (status === 404) return { kind: "missing" };
  // The server's store is behind what we saw: restored from a backup, perhaps. Waiting for it may be waiting for ever.
  if (causes.some((cause) => cause.reason === "ResourceVersionTooLarge") || /too large resource version/i.test(message))
    return { kind: "confused", message };
  if ((status === 429 || status === 503 || status === 504) && retryAfterMs !== null) return { kind: "throttled", retryAfterMs };
  const ours = status === 0 || status === 401 || status === 403 || status === 429 || status >= 500;
  return { kind: ofWatch && !ours ? "confused" : "broken", message };
}
