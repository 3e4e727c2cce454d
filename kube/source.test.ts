import assert from "node:assert/strict";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { KubeClient } from "./client.ts";
import { HTTP_ROUTES, PODS, SERVICES, TRAFFIC_POLICIES } from "./resource.ts";
import { KubeSource, PLANNED_KINDS, type Watched } from "./source.ts";
import { strip, stripPod } from "./strip.ts";
import { FakeApi } from "./test-fake-api.ts";
import { accessTo, clientOf, kubeMetrics, quietLogger, until } from "./test-world.ts";

const KINDS: readonly Watched[] = [
  { resource: SERVICES, optional: false, transform: strip },
  { resource: PODS, optional: false, transform: stripPod },
  { resource: TRAFFIC_POLICIES, optional: false, transform: strip },
  { resource: HTTP_ROUTES, optional: true, transform: strip },
];
const ROUTES = "/apis/gateway.networking.k8s.io/v1/httproutes";
const POLICIES = "/apis/weft.dev/v1alpha1/trafficpolicies";

let fake: FakeApi;
let client: KubeClient;
const sources: KubeSource[] = [];
beforeEach(async () => {
  fake = await FakeApi.start();
  client = clientOf(accessTo(fake.url));
});
afterEach(async () => {
  for (const source of sources.splice(0)) source.close();
  client.close();
  await fake.close();
});

const named = (name: string) => ({ metadata: { name, namespace: "shop" } });

function follow() {
  const told: string[] = [];
  const source = new KubeSource({
    client,
    clock: new SystemClock(),
    random: () => 0,
    logger: quietLogger(),
    metrics: kubeMetrics(),
    kinds: KINDS,
  });
  sources.push(source);
  let fails = false;
  source.start({
    onSync: (objects: readonly KubeObject[], revision) => {
      told.push(`sync ${objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`).join(" ")} at ${revision}`);
      if (fails) throw new Error("boom");
    },
    onChange: ({ type, object }: Change) => void told.push(`${type} ${object.kind}/${object.metadata.name}`),
    onConnected: (connected) => void told.push(connected ? "connected" : "lost"),
  });
  return {
    source,
    told,
    fail: (on: boolean) => {
      fails = on;
    },
  };
}

describe("the API server as a source of resources", () => {
  it("tells everything once, when all kinds are there, with the newest revision, and then each change", async () => {
    fake.put("/api/v1/services", named("a"));
    fake.put("/api/v1/pods", named("p"));
    const revision = fake.revision;
    const { told } = follow();
    await until("all watches are open", () => fake.openWatches === 4);
    fake.put(POLICIES, named("t"));
    fake.delete("/api/v1/pods", "shop", "p");
    await until("both were told", () => told.length === 4);
    assert.deepEqual(told.slice(0, 2), ["connected", `sync Service/a Pod/p at ${revision}`]);
    // Two watches are two connections: which is read first is nobody's promise.
    assert.deepEqual(told.slice(2).sort(), ["applied TrafficPolicy/t", "deleted Pod/p"]);
  });

  it("waits for a kind of ours that is not installed, because without its policies a mesh would let everything through", async () => {
    fake.missing.add(POLICIES);
    const { told } = follow();
    await until("it asked several times", () => fake.asked.filter((asked) => asked.includes(POLICIES)).length > 3);
    assert.deepEqual(
      told.filter((one) => one.startsWith("sync")),
      [],
    );
    fake.missing.clear();
    await until("it is synced", () => told.some((one) => one.startsWith("sync")));
  });

  it("does not wait for Gateway API", async () => {
    fake.missing.add(ROUTES);
    const { told } = follow();
    await until("it is synced", () => told.some((one) => one.startsWith("sync")));
  });

  it("tells of a lost server once and of its return once, not once a kind", async () => {
    const { told } = follow();
    await until("all watches are open", () => fake.openWatches === 4);
    const refuse = (request: { socket: { destroy(): void } }): void => void request.socket.destroy();
    fake.faults.push(...Array.from({ length: 12 }, () => ({ match: /watch=1/, act: refuse })));
    fake.killConnections();
    await until("it is back", () => told.at(-1) === "connected" && told.includes("lost"));
    assert.deepEqual(told.filter((one) => one === "lost").length, 1);
  });

  it("tells of everything again when the listener failed", async () => {
    const { told, fail } = follow();
    fail(true);
    await until("it was told", () => told.some((one) => one.startsWith("sync")));
    fake.put("/api/v1/services", named("late"));
    fail(false);
    await until(
      "it was told again",
      () =>
        told
          .filter((one) => one.startsWith("sync"))
          .at(-1)
          ?.includes("late") === true,
    );
  });

  it("says nothing and asks nothing when closed", async () => {
    const { source, told } = follow();
    source.close();
    client.close();
    await until("no connection is left", () => fake.openSockets === 0);
    assert.deepEqual(told, []);
  });

  it("asks for no kind that the planner does not read", () => {
    assert.deepEqual(
      PLANNED_KINDS.map(({ resource, optional }) => `${resource.plural}${optional ? "?" : ""}`),
      ["services", "endpointslices", "pods", "trafficpolicies", "meshidentities", "accesspolicies", "httproutes?", "grpcroutes?"],
    );
  });
});

describe("a stripped pod", () => {
  it("keeps what somebody reads, and no more", () => {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "p",
        namespace: "shop",
        uid: "u",
        resourceVersion: "5",
        creationTimestamp: "2026-01-01T00:00:00Z",
        labels: { app: "a" },
        annotations: { "weft.dev/inject": "enabled", "other/x": "y" },
        managedFields: [{ manager: "kubelet" }],
        ownerReferences: [],
      },
      spec: {
        serviceAccountName: "cart",
        volumes: [{ name: "v" }],
        containers: [{ name: "app", image: "i", env: [{ name: "SECRET", value: "s" }], ports: [{ containerPort: 80 }] }],
      },
      status: {
        phase: "Running",
        podIP: "10.0.0.1",
        containerStatuses: [{}],
        conditions: [{ type: "Ready", status: "True", message: "m" }],
      },
    };
    assert.deepEqual(stripPod(pod as KubeObject), {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "p",
        namespace: "shop",
        uid: "u",
        resourceVersion: "5",
        creationTimestamp: "2026-01-01T00:00:00Z",
        labels: { app: "a" },
        annotations: { "weft.dev/inject": "enabled" },
      },
      spec: { serviceAccountName: "cart", containers: [{ name: "app", ports: [{ containerPort: 80 }] }] },
      status: { phase: "Running", podIP: "10.0.0.1", conditions: [{ type: "Ready", status: "True" }] },
    });
  });
});
