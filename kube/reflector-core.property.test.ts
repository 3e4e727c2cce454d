import assert from "node:assert/strict";
import fc from "fast-check";
import type { KubeObject } from "#api/resources/kube.ts";
import { type Failure, ReflectorCore, type ReflectorEffect } from "./reflector-core.ts";
import { contentOf, Listener } from "./test-world.ts";

/** A server, a network and a listener around the core: what is asked waits in `asked` until the script answers it, well or badly. */
class World {
  readonly core = new ReflectorCore({ random: () => 0.5, optional: false });
  readonly listener = new Listener();
  readonly objects = new Map<string, KubeObject>();
  readonly #history: { readonly revision: number; readonly event: "ADDED" | "MODIFIED" | "DELETED"; readonly object: KubeObject }[] = [];
  #revision = 1;
  #compacted = 0;
  #nowMs = 0;
  #asked: Extract<ReflectorEffect, { do: "list" | "watch" | "wait" }> | null = null;
  /** Of the open watch: the next revision that it sends. */
  #watchFrom = 0;
  /** Pages of the list under way: what the server had when the first was asked for. */
  #listed: { readonly revision: number; readonly objects: readonly KubeObject[] } | null = null;
  /** Requests and waits at once, at most; more than one is a leak. */
  concurrent = 0;

  send(input: Parameters<ReflectorCore["on"]>[0]): void {
    let asks = 0;
    for (const effect of this.core.on(input, this.#nowMs)) {
      if (effect.do === "cancel") this.#asked = null;
      else if (effect.do === "list" || effect.do === "watch" || effect.do === "wait") {
        asks++;
        this.#asked = effect;
        if (effect.do === "watch") this.#watchFrom = Number(effect.resourceVersion) + 1;
        if (effect.do === "list" && effect.continueToken === "") this.#listed = null;
      } else if (effect.do === "synced") this.listener.onSync(effect.objects);
      else if (effect.do === "change") this.listener.onChange(effect.change);
      else this.listener.onConnected(effect.connected);
    }
    this.concurrent = Math.max(this.concurrent, asks);
  }

  put(name: string): void {
    const before = this.objects.get(name);
    const resourceVersion = String(++this.#revision);
    const metadata = { name, namespace: "shop", uid: before?.metadata.uid ?? `u${this.#revision}`, resourceVersion };
    const object: KubeObject = { apiVersion: "v1", kind: "Pod", metadata };
    this.objects.set(name, object);
    this.#history.push({ revision: this.#revision, event: before === undefined ? "ADDED" : "MODIFIED", object });
  }

  delete(name: string): void {
    const before = this.objects.get(name);
    if (before === undefined) return;
    this.objects.delete(name);
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(++this.#revision) } };
    this.#history.push({ revision: this.#revision, event: "DELETED", object });
  }

  compact(): void {
    this.#compacted = this.#revision;
  }

  fail(failure: Failure): void {
    const asked = this.#asked;
    if (asked?.do === "list") this.send({ type: "listFailed", request: asked.request, failure });
    else if (asked?.do === "watch") this.send({ type: "watchEnded", request: asked.request, failure });
  }

  end(): void {
    if (this.#asked?.do === "watch") this.send({ type: "watchEnded", request: this.#asked.request, failure: null });
  }

  bookmark(): void {
    // A bookmark says that all before it has been sent.
    while (this.#asked?.do === "watch" && this.#next() !== undefined) this.answer();
    if (this.#asked?.do === "watch") this.send({ type: "bookmark", request: this.#asked.request, resourceVersion: String(this.#revision) });
  }

  #next() {
    return this.#history.find(({ revision }) => revision >= this.#watchFrom);
  }

  /** The server and time do what is asked next. False: nothing more will come by itself. */
  answer(): boolean {
    const asked = this.#asked;
    if (asked === null) return false;
    const { request } = asked;
    if (asked.do === "wait") {
      this.#nowMs += asked.ms;
      this.send({ type: "due", request });
      return true;
    }
    if (asked.do === "list") {
      this.#page(asked);
      return true;
    }
    if (this.#watchFrom <= this.#compacted) {
      this.fail({ kind: "expired" });
      return true;
    }
    const next = this.#next();
    if (next === undefined) return false;
    this.#watchFrom = next.revision + 1;
    this.send({ type: "event", request, event: next.event, object: next.object });
    return true;
  }

  /** Pages of two objects, unless all are asked for. */
  #page({ request, continueToken, limit }: Extract<ReflectorEffect, { do: "list" }>): void {
    this.#listed ??= { revision: this.#revision, objects: [...this.objects.values()] };
    const { revision, objects } = this.#listed;
    if (continueToken !== "" && revision < this.#compacted) {
      this.fail({ kind: "expired" });
      return;
    }
    const from = Number(continueToken);
    const to = limit === 0 ? objects.length : from + 2;
    this.send({
      type: "page",
      request,
      objects: objects.slice(from, to),
      resourceVersion: String(revision),
      continueToken: to < objects.length ? String(to) : "",
    });
  }
}

const step = fc.oneof(
  fc.record({ do: fc.constantFrom("put", "delete", "replace"), name: fc.constantFrom("a", "b", "c", "d", "e") }),
  fc.record({
    do: fc.constantFrom("compact", "end", "bookmark", "stop", "start", "answer", "answer", "answer", "answer"),
    name: fc.constant(""),
  }),
  fc.record({ do: fc.constant("fail"), name: fc.constantFrom("expired", "broken", "confused", "missing", "throttled") }),
);

describe("a reflector's copy", () => {
  it("is what the server has, and so is what its listener was told, whatever happened before, in 2000 histories", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (script) => {
        const world = new World();
        // More than a page from the first.
        for (const name of ["a", "b", "c", "d", "e"]) world.put(name);
        world.send({ type: "start" });
        for (const { do: what, name } of script) {
          if (what === "put") world.put(name);
          else if (what === "delete") world.delete(name);
          else if (what === "replace") {
            world.delete(name);
            world.put(name);
          } else if (what === "compact") world.compact();
          else if (what === "end") world.end();
          else if (what === "bookmark") world.bookmark();
          else if (what === "stop") world.send({ type: "stop" });
          else if (what === "start") world.send({ type: "start" });
          else if (what === "answer") world.answer();
          else world.fail({ kind: name, message: "", retryAfterMs: 10 } as unknown as Failure);
        }
        world.send({ type: "start" });
        for (let i = 0; i < 500 && world.answer(); i++);
        const wanted = contentOf([...world.objects.values()]);
        assert.deepEqual(contentOf([...world.core.mirror.objects()]), wanted);
        assert.deepEqual([world.listener.content(), world.listener.syncs, world.concurrent], [wanted, 1, 1]);
      }),
      { numRuns: 2000 },
    );
  });
});
