import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { DiscoveryRequestSchema, DiscoveryResponseSchema, type Document } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Condition, KubeObject } from "#api/resources/kube.ts";
import type { SpiffeId } from "#api/spiffe.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { Hub, type OpenStream } from "./hub.ts";
import { MemoryStore } from "./memory-store.ts";
import { NO_SUBSCRIBERS_AFTER_MS } from "./programmed.ts";
import { Resources } from "./resources.ts";
import { StatusQueue } from "./status-queue.ts";
import { Statuses } from "./statuses.ts";
import { quietLogger, shopObjects, shopSlice, trafficPolicy } from "./test-operator.ts";

const SERVICE = "service/shop/web/80";
const targetRefs = [{ group: "", kind: "Service", name: "web" }];
const policy = (connectTimeout: string): KubeObject => trafficPolicy({ targetRefs, connections: { connectTimeout } });

/** Store, hub and statuses on a clock that moves by hand. */
class World {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore();
  readonly resources = new Resources();
  readonly hub: Hub;
  readonly statuses: Statuses;

  constructor(objects: readonly KubeObject[] = shopObjects()) {
    for (const object of objects) this.store.apply(object);
    const metrics = new MetricsRegistry([
      "weft_operator_streams",
      "weft_document_subscribers",
      "weft_document_nacks_total",
      "weft_operator_plan_duration_seconds",
      "weft_operator_propagation_seconds",
    ]);
    const logger = quietLogger();
    this.hub = new Hub({
      plan: (key) => this.resources.plan(key),
      revision: () => this.resources.revision,
      clock: this.clock,
      random: () => 0.5,
      logger,
      metrics,
      onProgress: (keys) => this.statuses.progressed(keys),
    });
    this.statuses = new Statuses(this.resources, this.hub, new StatusQueue(this.store, this.clock, logger), this.clock);
    this.store.start({
      onConnected: () => {},
      onSync: (all) => this.take(this.resources.replace(all, null)),
      onChange: (change) => this.take(this.resources.apply(change)),
    });
  }

  take(dirty: ReturnType<Resources["apply"]>): void {
    this.hub.invalidate(dirty.documents);
    this.statuses.invalidate(dirty.statuses);
  }

  subscriber(pod: string, ...keys: string[]): Subscriber {
    return new Subscriber(
      this.hub.open({ id: "spiffe://cluster.local/ns/shop/sa/web" as SpiffeId, namespace: "shop", serviceAccount: "web" }),
      pod,
      keys,
    );
  }

  /** Lets time pass and promises settle, in small steps. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      this.clock.advance(Math.min(50, left));
      await settle();
    }
  }

  condition(type: string, name = "web"): Condition | undefined {
    const status = this.store.get("TrafficPolicy", "shop", name)?.status as { ancestors?: { conditions: Condition[] }[] } | undefined;
    return status?.ancestors?.[0]?.conditions.find((c) => c.type === type);
  }

  get programmed(): string {
    const found = this.condition("Programmed");
    return found === undefined ? "none" : `${found.status} ${found.reason} ${found.observedGeneration}`;
  }
}

class Subscriber {
  readonly stream: OpenStream;

  constructor(stream: OpenStream, pod: string, keys: readonly string[]) {
    this.stream = stream;
    stream.session.receive(create(DiscoveryRequestSchema, { message: { case: "hello", value: { pod } } }));
    stream.session.receive(
      create(DiscoveryRequestSchema, { message: { case: "subscribe", value: { documents: keys.map((key) => ({ key })) } } }),
    );
  }

  /** Everything that waits, as the wire carries it. */
  take(): Document[] {
    const documents: Document[] = [];
    for (let next = this.stream.session.next(); next !== null; next = this.stream.session.next()) {
      const { message } = fromBinary(DiscoveryResponseSchema, toBinary(DiscoveryResponseSchema, next));
      if (message.case === "document") documents.push(message.value);
    }
    return documents;
  }

  ackAll(): void {
    for (const { key, version } of this.take())
      this.stream.session.receive(create(DiscoveryRequestSchema, { message: { case: "ack", value: { key, version } } }));
  }

  nackAll(): void {
    for (const { key, version } of this.take()) {
      this.stream.session.receive(
        create(DiscoveryRequestSchema, { message: { case: "nack", value: { key, version, code: "WEFT_UNKNOWN_FEATURE", reason: "no" } } }),
      );
    }
  }
}

async function settle(): Promise<void> {
  for (let n = 0; n < 5; n++) await Promise.resolve();
}

describe("Programmed", () => {
  it("turns True when every subscriber of the policy's documents acked what was planned from its generation", async () => {
    const world = new World();
    const [a, b] = [world.subscriber("web-0", SERVICE), world.subscriber("web-1", SERVICE)];
    a.ackAll();
    b.ackAll();
    world.store.apply(policy("2s"));
    await world.pass(1200);
    assert.equal(world.programmed, "False Pending 1");
    a.ackAll();
    await world.pass(1200);
    assert.equal(world.programmed, "False Pending 1");
    b.ackAll();
    await world.pass(1200);
    assert.equal(world.programmed, "True Programmed 1");
  });

  it("begins again with each generation", async () => {
    const world = new World();
    const a = world.subscriber("web-0", SERVICE);
    world.store.apply(policy("2s"));
    await world.pass(100);
    a.ackAll();
    await world.pass(2000);
    world.store.apply(policy("3s"));
    await world.pass(2000);
    assert.equal(world.programmed, "False Pending 2");
    a.ackAll();
    await world.pass(2000);
    assert.equal(world.programmed, "True Programmed 2");
  });

  it("is not reopened by new subscribers or by churn", async () => {
    const world = new World();
    world.store.apply(trafficPolicy({ targetRefs, subsets: [{ name: "v1", selector: { matchLabels: { version: "v1" } } }] }));
    const a = world.subscriber("web-0", SERVICE, "endpoints/shop/web/80");
    a.ackAll();
    await world.pass(2000);
    assert.equal(world.programmed, "True Programmed 1");
    const writes = world.store.written.length;
    world.subscriber("web-1", SERVICE);
    world.store.apply(shopSlice([0]));
    await world.pass(5000);
    assert.equal(world.programmed, "True Programmed 1");
    assert.equal(world.store.written.length, writes);
  });

  it("does not wait for a subscriber that has gone", async () => {
    const world = new World();
    const [a, b] = [world.subscriber("web-0", SERVICE), world.subscriber("web-1", SERVICE)];
    a.ackAll();
    b.ackAll();
    world.store.apply(policy("2s"));
    await world.pass(100);
    a.ackAll();
    world.hub.close(b.stream);
    await world.pass(2000);
    assert.equal(world.programmed, "True Programmed 1");
  });

  it("is True with NoSubscribers when nobody uses it, but not before proxies had time to come back", async () => {
    const world = new World();
    world.store.apply(policy("2s"));
    await world.pass(NO_SUBSCRIBERS_AFTER_MS - 500);
    assert.equal(world.programmed, "False Pending 1");
    await world.pass(2000);
    assert.equal(world.programmed, "True NoSubscribers 1");
  });

  it("is False with Rejected while a proxy refuses it", async () => {
    const world = new World();
    const a = world.subscriber("web-0", SERVICE);
    a.ackAll();
    world.store.apply(policy("2s"));
    await world.pass(100);
    a.nackAll();
    await world.pass(2000);
    assert.equal(world.programmed, "False Rejected 1");
  });

  it("holds over a restart of the operator", async () => {
    const world = new World();
    world.store.apply(policy("2s"));
    await world.pass(NO_SUBSCRIBERS_AFTER_MS + 2000);
    const status = world.store.get("TrafficPolicy", "shop", "web");
    assert.ok(status !== undefined);
    const restarted = new World([...shopObjects(), { ...status, metadata: { name: "web", namespace: "shop" } }]);
    await restarted.pass(2000);
    assert.deepEqual(restarted.store.written, []);
    assert.equal(restarted.programmed, "True NoSubscribers 1");
  });
});

describe("a status", () => {
  it("names generation and controller, and keeps the time of a transition while the status stays", async () => {
    const world = new World();
    world.store.apply(policy("2s"));
    await world.pass(1000);
    const first = world.condition("Accepted");
    assert.equal(first?.observedGeneration, 1);
    const stored = world.store.get("TrafficPolicy", "shop", "web")?.status as { ancestors: { controllerName: string }[] };
    assert.equal(stored.ancestors[0]?.controllerName, "weft.dev/operator");
    await world.pass(10_000);
    world.store.apply(policy("3s"));
    await world.pass(2000);
    const second = world.condition("Accepted");
    assert.deepEqual([second?.observedGeneration, second?.lastTransitionTime], [2, first?.lastTransitionTime]);
    world.store.apply(policy("nonsense"));
    await world.pass(2000);
    const third = world.condition("Accepted");
    assert.equal(third?.status, "False");
    assert.notEqual(third?.lastTransitionTime, first?.lastTransitionTime);
    assert.equal(world.condition("Programmed"), undefined);
  });

  it("leaves what other controllers say", async () => {
    const world = new World();
    const other = { ancestorRef: { name: "x" }, controllerName: "other.example/c", conditions: [] };
    world.store.apply({ ...policy("2s"), status: { ancestors: [other] } });
    await world.pass(1000);
    const stored = world.store.get("TrafficPolicy", "shop", "web")?.status as { ancestors: { controllerName: string }[] };
    assert.deepEqual(
      stored.ancestors.map((a) => a.controllerName),
      ["other.example/c", "weft.dev/operator"],
    );
  });

  it("of a MeshIdentity stands in status.conditions", async () => {
    const world = new World();
    world.store.apply({
      apiVersion: "weft.dev/v1alpha1",
      kind: "MeshIdentity",
      metadata: { name: "strict", namespace: "shop" },
      spec: { mtls: { mode: "Strict" } },
    });
    const a = world.subscriber("web-0", "workload/shop/web-0");
    a.ackAll();
    await world.pass(2000);
    const status = world.store.get("MeshIdentity", "shop", "strict")?.status as { conditions: Condition[] };
    assert.deepEqual(
      status.conditions.map((c) => `${c.type} ${c.status}`),
      ["Accepted True", "Programmed True"],
    );
  });

  it("is not written again when only time passes", async () => {
    const world = new World();
    world.store.apply(policy("2s"));
    await world.pass(NO_SUBSCRIBERS_AFTER_MS + 3000);
    const writes = world.store.written.length;
    await world.pass(60_000);
    assert.equal(world.store.written.length, writes);
  });
});
