import assert from "node:assert/strict";
import type { KubeObject } from "#api/resources/kube.ts";
import { Mirror } from "./mirror.ts";
import { type Failure, ReflectorCore, type ReflectorEffect } from "./reflector-core.ts";

function pod(name: string, uid = `${name}-1`, resourceVersion = "1"): KubeObject {
  return { apiVersion: "v1", kind: "Pod", metadata: { namespace: "shop", name, uid, resourceVersion } };
}

/** One line an effect, as a transcript shows it. */
function show(effect: ReflectorEffect): string {
  switch (effect.do) {
    case "list":
      return `list${effect.continueToken === "" ? "" : ` from ${effect.continueToken}`}${effect.limit === 0 ? " whole" : ""}`;
    case "watch":
      return `watch from ${effect.resourceVersion}`;
    case "wait":
      return `wait ${effect.ms}`;
    case "synced":
      return `synced ${effect.objects.map((object) => object.metadata.name).join(",")} at ${effect.resourceVersion}`;
    case "change":
      return `${effect.change.type} ${effect.change.object.metadata.name}/${effect.change.object.metadata.uid}@${effect.change.object.metadata.resourceVersion}`;
    case "connected":
      return effect.connected ? "reachable" : "unreachable";
    case "cancel":
      return "cancel";
  }
}

/** A core and the number of its last request; randomness is its upper half, so that waits are their bound's half. */
class Script {
  readonly core: ReflectorCore;
  nowMs = 0;
  #request = 0;

  constructor(optional = false) {
    this.core = new ReflectorCore({ random: () => 0.5, optional });
  }

  #on(input: Parameters<ReflectorCore["on"]>[0]): string[] {
    const effects = this.core.on(input, this.nowMs);
    for (const effect of effects) if ("request" in effect) this.#request = effect.request;
    return effects.map(show);
  }

  start = () => this.#on({ type: "start" });
  stop = () => this.#on({ type: "stop" });
  page = (objects: readonly KubeObject[], resourceVersion = "10", continueToken = "") =>
    this.#on({ type: "page", request: this.#request, objects, resourceVersion, continueToken });
  listFailed = (failure: Failure) => this.#on({ type: "listFailed", request: this.#request, failure });
  event = (event: "ADDED" | "MODIFIED" | "DELETED", object: KubeObject) =>
    this.#on({ type: "event", request: this.#request, event, object });
  opened = () => this.#on({ type: "opened", request: this.#request });
  bookmark = (resourceVersion: string) => this.#on({ type: "bookmark", request: this.#request, resourceVersion });
  ended = (failure: Failure | null) => this.#on({ type: "watchEnded", request: this.#request, failure });
  due = () => this.#on({ type: "due", request: this.#request });
  /** An answer to the request before the last one. */
  lateDue = () => this.#on({ type: "due", request: this.#request - 1 });

  /** Lists these and watches from revision 10. */
  watching(objects: readonly KubeObject[] = [pod("a")]): this {
    this.start();
    this.page(objects);
    return this;
  }
}

const BROKEN: Failure = { kind: "broken", message: "ECONNRESET" };
const EXPIRED: Failure = { kind: "expired" };

describe("a reflector", () => {
  it("lists in pages, tells everything once, and watches from the list's revision", () => {
    const script = new Script();
    assert.deepEqual(script.start(), ["list"]);
    assert.deepEqual(script.page([pod("a")], "10", "next-1"), ["list from next-1"]);
    assert.deepEqual(script.page([pod("b")], "10", "next-2"), ["list from next-2"]);
    assert.deepEqual(script.page([pod("c")], "10"), ["reachable", "synced a,b,c at 10", "watch from 10"]);
    assert.equal(script.core.synced, true);
  });

  it("begins again with the first page when a page's token expired, and asks for all at once when that happens twice", () => {
    const script = new Script();
    script.start();
    script.page([pod("a")], "10", "next");
    assert.deepEqual(script.listFailed(EXPIRED), ["wait 400"]);
    assert.deepEqual(script.due(), ["list"]);
    script.page([pod("a")], "20", "next");
    script.listFailed(EXPIRED);
    assert.deepEqual(script.due(), ["list whole"]);
    assert.deepEqual(script.page([pod("b")], "30"), ["reachable", "synced b at 30", "watch from 30"]);
  });

  it("never mixes the pages of two lists", () => {
    const script = new Script();
    script.start();
    script.page([pod("a")], "10", "next");
    script.listFailed(BROKEN);
    script.due();
    assert.deepEqual(script.page([pod("b")], "20"), ["reachable", "synced b at 20", "watch from 20"]);
  });

  it("goes on from the last event or bookmark after a watch ended in good order", () => {
    const script = new Script().watching();
    script.event("MODIFIED", pod("a", "a-1", "12"));
    assert.deepEqual(script.ended(null), ["watch from 12"]);
    script.bookmark("40");
    assert.deepEqual(script.ended(null), ["watch from 40"]);
  });

  it("takes a watch that ends at once and brought nothing for a failure, so that it never spins", () => {
    const script = new Script().watching();
    assert.deepEqual(script.ended(null), ["wait 400"]);
    assert.deepEqual(script.due(), ["watch from 10"]);
    script.nowMs += 1000;
    assert.deepEqual(script.ended(null), ["watch from 10"]);
  });

  it("waits longer each time, up to half a minute, and says that the server is unreachable after the second failure", () => {
    const script = new Script().watching();
    const said = Array.from({ length: 8 }, () => {
      const lines = script.ended(BROKEN);
      script.due();
      return lines.join(" ");
    });
    assert.deepEqual(said, [
      "wait 400",
      "unreachable wait 800",
      "wait 1600",
      "wait 3200",
      "wait 6400",
      "wait 12800",
      "wait 15000",
      "wait 15000",
    ]);
    assert.deepEqual(script.opened(), ["reachable"]);
    assert.deepEqual(script.event("ADDED", pod("b")), ["applied b/b-1@1"]);
  });

  it("watches on at once over another connection when one was silent, which is no failure", () => {
    const script = new Script().watching();
    script.nowMs += 90_000;
    assert.deepEqual(script.ended({ kind: "silent" }), ["watch from 10"]);
  });

  it("begins with short waits again after a watch that worked for a while", () => {
    const script = new Script().watching();
    script.ended(BROKEN);
    script.due();
    script.ended(BROKEN);
    script.due();
    script.nowMs += 5000;
    assert.deepEqual(script.ended(BROKEN), ["wait 400"]);
  });

  it("keeps waiting longer when lists succeed but every watch expires, because a storm of 410 must not become a storm of lists", () => {
    const script = new Script().watching();
    const waits = Array.from({ length: 4 }, () => {
      const [wait] = script.ended(EXPIRED);
      script.due();
      script.page([pod("a")], "10");
      return wait;
    });
    assert.deepEqual(waits, ["wait 400", "wait 800", "wait 1600", "wait 3200"]);
  });

  const afterFailure: readonly { failure: Failure; next: string }[] = [
    { failure: BROKEN, next: "watch from 10" },
    { failure: { kind: "throttled", retryAfterMs: 7000 }, next: "watch from 10" },
    { failure: EXPIRED, next: "list" },
    { failure: { kind: "missing" }, next: "list" },
    { failure: { kind: "confused", message: "500" }, next: "list" },
  ];
  it.each(afterFailure)("answers a watch that is $failure.kind with: $next", ({ failure, next }) => {
    const script = new Script().watching();
    script.ended(failure);
    assert.deepEqual(script.due(), [next]);
  });

  it("leaves a server alone for as long as it asks, and a little longer", () => {
    assert.deepEqual(new Script().watching().ended({ kind: "throttled", retryAfterMs: 7000 }), ["wait 7400"]);
  });

  it("tells of a new list only what it changed, deletions first and at the list's revision", () => {
    const script = new Script().watching([pod("a"), pod("b"), pod("c")]);
    script.ended(EXPIRED);
    script.due();
    assert.deepEqual(script.page([pod("b", "b-1", "1"), pod("c", "c-2", "19"), pod("d")], "20"), [
      "deleted a/a-1@20",
      "deleted c/c-1@20",
      "applied c/c-2@19",
      "applied d/d-1@1",
      "watch from 20",
    ]);
  });

  it("takes an absent kind for an empty one where it may be absent, looks again now and then, and empties it when it goes", () => {
    const script = new Script(true);
    script.start();
    assert.deepEqual(script.listFailed({ kind: "missing" }), ["reachable", "synced  at ", "wait 22500"]);
    script.due();
    assert.deepEqual(script.listFailed({ kind: "missing" }), ["wait 22500"]);
    script.due();
    assert.deepEqual(script.page([pod("a")], "10"), ["applied a/a-1@1", "watch from 10"]);
    script.ended({ kind: "missing" });
    script.due();
    assert.deepEqual(script.listFailed({ kind: "missing" }), ["deleted a/a-1@10", "wait 22500"]);
  });

  it("is not synced while a kind is absent that must be there", () => {
    const script = new Script();
    script.start();
    assert.deepEqual(script.listFailed({ kind: "missing" }), ["wait 400"]);
    assert.equal(script.core.synced, false);
  });

  it("ignores a second start, and answers to what it gave up", () => {
    const script = new Script();
    script.start();
    assert.deepEqual(script.start(), []);
    script.page([pod("a")]);
    assert.deepEqual(script.lateDue(), []);
  });

  it("cancels whatever there is when stopped, ignores what still comes, and goes on from what it has when started again", () => {
    const script = new Script().watching();
    assert.deepEqual(script.stop(), ["cancel"]);
    assert.deepEqual(script.stop(), []);
    assert.deepEqual(script.event("ADDED", pod("late")), []);
    assert.deepEqual(script.start(), ["list"]);
    assert.deepEqual(script.page([pod("b")], "20"), ["reachable", "deleted a/a-1@20", "applied b/b-1@1", "watch from 20"]);
  });
});

describe("a mirror", () => {
  const told = (changes: ReturnType<Mirror["put"]>) => changes.map(({ type, object }) => `${type} ${object.metadata.uid}`);

  it("takes the same object twice without a word", () => {
    const mirror = new Mirror();
    assert.deepEqual(told(mirror.put(pod("a"))), ["applied a-1"]);
    assert.deepEqual(told(mirror.put(pod("a"))), []);
  });

  it("tells of the old object's end when its name comes with another uid, because it is another object", () => {
    const mirror = new Mirror();
    mirror.put(pod("a", "old"));
    assert.deepEqual(told(mirror.put(pod("a", "new", "2"))), ["deleted old", "applied new"]);
  });

  it("keeps the new object when the old one's deletion comes late", () => {
    const mirror = new Mirror();
    mirror.put(pod("a", "new"));
    assert.deepEqual(told(mirror.remove(pod("a", "old"))), []);
    assert.equal(mirror.get("shop", "a")?.metadata.uid, "new");
  });
});
