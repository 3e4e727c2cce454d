import type { Random } from "#api/clock.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import { Backoff, REFLECTOR_BACKOFF } from "./backoff.ts";
import { Mirror } from "./mirror.ts";

/** Objects that a page of a list may have. */
export const PAGE_LIMIT = 500;
/** A watch ends by itself after a time drawn from this range, so that the watches of many clients spread. Seconds. */
const WATCH_SECONDS_MIN = 300;
const WATCH_SECONDS_MAX = 600;
/** A watch that lasted so long has worked: the next failure begins with short waits. Milliseconds. */
const HEALTHY_WATCH_MS = 5000;
/** A watch that ends well within this time and brought nothing counts as failed, or a confused server would be asked without pause. */
const SHORT_WATCH_MS = 1000;
/** So many pages of lists in a row that expired half-way; then the list is asked for whole. */
const EXPIRED_PAGES_MAX = 2;
/** While the kind does not exist (its definition is not installed), it is asked for about so often, milliseconds. */
const MISSING_RETRY_MS = 15_000;
/** Failures in a row after which the server counts as unreachable. One is everyday life: a connection was closed. */
const FAILURES_UNREACHABLE = 2;

/** Why a list or a watch did not go on. */
export type Failure =
  /** 410: the revision or the continue token is too old; only a new list helps. */
  | { readonly kind: "expired" }
  /** 404: there is no such kind. */
  | { readonly kind: "missing" }
  /** 429 or 503 with the time after which to come again. */
  | { readonly kind: "throttled"; readonly retryAfterMs: number }
  /** A watch over which nothing came, not even a bookmark: perhaps half-open, perhaps a kind of which nothing is ever said. */
  | { readonly kind: "silent" }
  /** The answer does not make sense, or the server is confused: what we know may be wrong. */
  | { readonly kind: "confused"; readonly message: string }
  /** The connection or the server failed; what we know is only late. */
  | { readonly kind: "broken"; readonly message: string };

export type ReflectorInput =
  | { readonly type: "start" }
  | { readonly type: "stop" }
  | {
      readonly type: "page";
      readonly request: number;
      readonly objects: readonly KubeObject[];
      readonly resourceVersion: string;
      readonly continueToken: string;
    }
  | { readonly type: "listFailed"; readonly request: number; readonly failure: Failure }
  | { readonly type: "event"; readonly request: number; readonly event: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubeObject }
  /** The server took the watch; nothing need come for a minute. */
  | { readonly type: "opened"; readonly request: number }
  | { readonly type: "bookmark"; readonly request: number; readonly resourceVersion: string }
  /** Null: it ended as it should. */
  | { readonly type: "watchEnded"; readonly request: number; readonly failure: Failure | null }
  | { readonly type: "due"; readonly request: number };

/** What the shell must do, in this order. Answers name the `request` that they answer; late ones are ignored. */
export type ReflectorEffect =
  | { readonly do: "list"; readonly request: number; readonly continueToken: string; readonly limit: number }
  | { readonly do: "watch"; readonly request: number; readonly resourceVersion: string; readonly timeoutSeconds: number }
  /** Whatever request or timer there is: end it and forget it. */
  | { readonly do: "cancel" }
  | { readonly do: "wait"; readonly request: number; readonly ms: number }
  /** The first list is complete: everything there is. */
  | { readonly do: "synced"; readonly objects: readonly KubeObject[]; readonly resourceVersion: string }
  | { readonly do: "change"; readonly change: Change }
  | { readonly do: "connected"; readonly connected: boolean };

export interface ReflectorOptions {
  readonly random: Random;
  /** The kind may be absent: then there is nothing of it, until it appears. Otherwise its absence is a failure. */
  readonly optional: boolean;
}

/**
 * Keeps a copy of all objects of a kind: list in pages, then watch from there, and again whatever happens. Decides
 * only: no socket, no timer; `nowMs` is monotonic. It never gives up and never asks without a pause.
 */
export class ReflectorCore {
  readonly mirror = new Mirror();
  readonly #options: ReflectorOptions;
  readonly #backoff: Backoff;
  #state: "stopped" | "listing" | "watching" | "waiting" = "stopped";
  #request = 0;
  #next: "list" | "watch" = "list";
  #pages: KubeObject[] = [];
  #expiredPages = 0;
  #resourceVersion = "";
  #synced = false;
  #missing = false;
  /** Null until it is known. */
  #connected: boolean | null = null;
  #watchSinceMs = 0;
  #watchBrought = false;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#backoff = new Backoff(REFLECTOR_BACKOFF, options.random);
  }

  /** Whether everything there is has been told once. */
  get synced(): boolean {
    return this.#synced;
  }

  get running(): boolean {
    return this.#state !== "stopped";
  }

  /** Whether an answer to this request still counts. */
  awaits(request: number): boolean {
    return this.#state !== "stopped" && request === this.#request;
  }

  /** The newest revision that the copy is known to hold. */
  get resourceVersion(): string {
    return this.#resourceVersion;
  }

  on(input: ReflectorInput, nowMs: number): ReflectorEffect[] {
    if (input.type === "start") return this.#state === "stopped" ? this.#list("") : [];
    if (input.type === "stop") return this.#stop();
    // An answer to what was given up meanwhile.
    if (!this.awaits(input.request)) return [];
    switch (input.type) {
      case "page":
        return this.#page(input, nowMs);
      case "listFailed":
        return this.#listFailed(input.failure);
      case "event":
        return this.#event(input.event, input.object);
      case "opened":
        return this.#reachable(true);
      case "bookmark":
        this.#watchBrought = true;
        if (input.resourceVersion !== "") this.#resourceVersion = input.resourceVersion;
        return [];
      case "watchEnded":
        return this.#watchEnded(input.failure, nowMs);
      case "due":
        return this.#next === "list" ? this.#list("") : this.#watch(nowMs);
    }
  }

  #stop(): ReflectorEffect[] {
    if (this.#state === "stopped") return [];
    this.#state = "stopped";
    this.#request++;
    this.#pages = [];
    this.#connected = null;
    this.#backoff.reset();
    return [{ do: "cancel" }];
  }

  #list(continueToken: string): ReflectorEffect[] {
    this.#state = "listing";
    if (continueToken === "") this.#pages = [];
    const limit = this.#expiredPages >= EXPIRED_PAGES_MAX ? 0 : PAGE_LIMIT;
    return [{ do: "list", request: ++this.#request, continueToken, limit }];
  }

  #watch(nowMs: number): ReflectorEffect[] {
    this.#state = "watching";
    this.#watchSinceMs = nowMs;
    this.#watchBrought = false;
    const timeoutSeconds = Math.floor(WATCH_SECONDS_MIN + this.#options.random() * (WATCH_SECONDS_MAX - WATCH_SECONDS_MIN));
    return [{ do: "watch", request: ++this.#request, resourceVersion: this.#resourceVersion, timeoutSeconds }];
  }

  #page(page: Extract<ReflectorInput, { type: "page" }>, nowMs: number): ReflectorEffect[] {
    for (const object of page.objects) this.#pages.push(object);
    if (page.continueToken !== "") return this.#list(page.continueToken);
    const objects = this.#pages;
    this.#pages = [];
    this.#expiredPages = 0;
    this.#missing = false;
    this.#resourceVersion = page.resourceVersion;
    return [...this.#reachable(true), ...this.#take(objects), ...this.#watch(nowMs)];
  }

  /** A whole list: all of it the first time, what it changes later. */
  #take(objects: readonly KubeObject[]): ReflectorEffect[] {
    const changes = this.mirror.replace(objects, this.#resourceVersion);
    if (this.#synced) return changes.map((change) => ({ do: "change", change }) as const);
    this.#synced = true;
    return [{ do: "synced", objects: [...this.mirror.objects()], resourceVersion: this.#resourceVersion }];
  }

  #listFailed(failure: Failure): ReflectorEffect[] {
    // Pages of two lists must never be mixed: whatever failed, the next attempt begins with the first page.
    if (failure.kind === "expired" && this.#pages.length > 0) this.#expiredPages++;
    if (failure.kind === "missing" && this.#options.optional) return this.#absent();
    return this.#again("list", failure);
  }

  /** There is no such kind, and that is an answer. */
  #absent(): ReflectorEffect[] {
    const effects: ReflectorEffect[] = this.#missing ? [] : [...this.#reachable(true), ...this.#take([])];
    this.#missing = true;
    this.#backoff.reset();
    return [...effects, ...this.#wait("list", MISSING_RETRY_MS * (1 + this.#options.random()))];
  }

  #event(event: "ADDED" | "MODIFIED" | "DELETED", object: KubeObject): ReflectorEffect[] {
    this.#watchBrought = true;
    const revision = object.metadata.resourceVersion;
    if (revision !== undefined && revision !== "") this.#resourceVersion = revision;
    const changes = event === "DELETED" ? this.mirror.remove(object) : this.mirror.put(object);
    return [...this.#reachable(true), ...changes.map((change) => ({ do: "change", change }) as const)];
  }

  #watchEnded(failure: Failure | null, nowMs: number): ReflectorEffect[] {
    const lastedMs = nowMs - this.#watchSinceMs;
    if (lastedMs >= HEALTHY_WATCH_MS) this.#backoff.reset();
    // Another connection tells the one from the other, and costs less than a wait that may be needless.
    if (failure?.kind === "silent") return this.#watch(nowMs);
    if (failure === null) {
      if (lastedMs < SHORT_WATCH_MS && !this.#watchBrought) return this.#again("watch", { kind: "broken", message: "it ended at once" });
      return [...this.#reachable(true), ...this.#watch(nowMs)];
    }
    return this.#again(failure.kind === "broken" || failure.kind === "throttled" ? "watch" : "list", failure);
  }

  #again(next: "list" | "watch", failure: Failure): ReflectorEffect[] {
    const ms = this.#backoff.next();
    // An expired revision says nothing bad of the server.
    const lost = failure.kind !== "expired" && this.#backoff.failures >= FAILURES_UNREACHABLE;
    const waitMs = failure.kind === "throttled" ? failure.retryAfterMs + ms : ms;
    return [...(lost ? this.#reachable(false) : []), ...this.#wait(next, waitMs)];
  }

  #wait(next: "list" | "watch", ms: number): ReflectorEffect[] {
    this.#state = "waiting";
    this.#next = next;
    return [{ do: "wait", request: ++this.#request, ms }];
  }

  #reachable(connected: boolean): ReflectorEffect[] {
    if (this.#connected === connected) return [];
    this.#connected = connected;
    return [{ do: "connected", connected }];
  }
}
