import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  fetchSvid,
  type Svid,
  shopObjects,
  shopPod,
  shopSlice,
  startTestOperator,
  type TestOperator,
  TestStream,
  trafficPolicy,
} from "./test-operator.ts";

const SERVICE = "service/shop/web/80";
const ENDPOINTS = "endpoints/shop/web/80";
const target = { targetRefs: [{ group: "", kind: "Service", name: "web" }] };

describe("the discovery stream over TLS", () => {
  let test: TestOperator;
  let svid: Svid;
  const streams: TestStream[] = [];
  const open = (pod = "web-0", as: Svid | null = svid): TestStream => {
    const stream = new TestStream(test.operator.grpcPort, as);
    streams.push(stream);
    stream.hello(pod);
    return stream;
  };
  const refusal = async (stream: TestStream): Promise<ConnectError> => {
    const error = await stream.next().then(
      () => null,
      (e: unknown) => e,
    );
    assert.ok(error instanceof ConnectError, String(error));
    return error;
  };

  beforeAll(async () => {
    test = await startTestOperator([
      ...shopObjects(),
      {
        ...shopPod(7),
        metadata: { name: "other-0", namespace: "shop", labels: {} },
        spec: { serviceAccountName: "other", containers: [] },
      },
    ]);
    svid = await fetchSvid(test, "shop", "web", "web-0");
  });
  afterEach(() => {
    for (const stream of streams.splice(0)) stream.end();
  });
  afterAll(async () => test.close());

  it("answers a subscription with the document", async () => {
    const stream = open();
    stream.subscribe("workload/shop/web-0", SERVICE, ENDPOINTS, "trust");
    const [workload, service, endpoints, trust] = [
      await stream.document(),
      await stream.document(),
      await stream.document(),
      await stream.document(),
    ];
    assert.equal(workload.body.case === "workload" && workload.body.value.spiffeId, "spiffe://cluster.local/ns/shop/sa/web");
    assert.equal(service.body.case === "service" && service.body.value.name, "web");
    assert.equal(endpoints.body.case === "endpoints" && endpoints.body.value.upserts.length, 2);
    assert.equal(endpoints.body.case === "endpoints" && endpoints.body.value.base, "");
    assert.deepEqual(trust.body.case === "trust" && new X509Certificate(trust.body.value.roots[0] ?? new Uint8Array()).ca, true);
    assert.ok(service.resourceVersion > 0n);
    assert.match(service.version, /^[\w-]{16}$/);
  });

  it("sends a new version when what it is made of changes, and not before the last is answered", async () => {
    const stream = open();
    stream.subscribe(SERVICE);
    const first = await stream.document();
    stream.ack(first);
    test.store.apply(trafficPolicy({ ...target, connections: { connectTimeout: "2s" } }));
    const second = await stream.document();
    assert.notEqual(second.version, first.version);
    assert.ok(second.resourceVersion > first.resourceVersion);
    test.store.apply(trafficPolicy({ ...target, connections: { connectTimeout: "3s" } }));
    test.store.apply(trafficPolicy({ ...target, connections: { connectTimeout: "4s" } }));
    stream.subscribe("trust");
    assert.equal((await stream.document()).key, "trust");
    stream.ack(second);
    const last = await stream.document();
    assert.equal(last.body.case === "service" && last.body.value.clusters[0]?.connectTimeoutMs, 4000);
    test.store.delete(trafficPolicy({}));
  });

  it("sends endpoints as the difference to the version that was acked", async () => {
    const stream = open();
    stream.subscribe(ENDPOINTS);
    const first = await stream.document();
    stream.ack(first);
    test.store.apply(shopPod(2));
    test.store.apply(shopPod(3));
    test.store.apply(shopSlice([1, 2, 3]));
    const second = await stream.document();
    const body = second.body.case === "endpoints" ? second.body.value : null;
    assert.equal(body?.base, first.version);
    assert.equal(body?.upserts.map((e) => e.address).join(), "10.0.0.3,10.0.0.4");
    assert.equal(body?.removals.join(), "10.0.0.1:8080");
    stream.ack(second);
    test.store.apply(shopSlice([0, 1]));
    assert.equal((await stream.document()).version, first.version);
  });

  it("answers a known version with Current, and an older one with the difference", async () => {
    const stream = open();
    stream.subscribe(ENDPOINTS, SERVICE);
    const endpoints = await stream.document();
    const service = await stream.document();
    stream.end();
    test.store.apply(shopSlice([0, 1, 2]));
    const again = open();
    again.subscribe({ key: SERVICE, version: service.version }, { key: ENDPOINTS, version: endpoints.version });
    const current = await again.next();
    assert.deepEqual([current.case, current.case === "current" && current.value.version], ["current", service.version]);
    const delta = await again.document();
    assert.equal(delta.body.case === "endpoints" && delta.body.value.base, endpoints.version);
    test.store.apply(shopSlice([0, 1]));
  });

  it("sends everything to one who knows a version that nobody remembers", async () => {
    const stream = open();
    stream.subscribe({ key: ENDPOINTS, version: "AAAAAAAAAAAAAAAA" });
    const document = await stream.document();
    assert.equal(document.body.case === "endpoints" && document.body.value.base, "");
  });

  it("keeps a nack apart: logs its reason, counts it, sends the next version only", async () => {
    const stream = open();
    stream.subscribe(SERVICE);
    const first = await stream.document();
    stream.nack(first, "WEFT_UNKNOWN_FEATURE", "no idea\nforged line");
    test.store.apply(trafficPolicy({ ...target, connections: { connectTimeout: "2s" } }));
    const second = await stream.document();
    assert.notEqual(second.version, first.version);
    const logged = test.log.find((line) => line.includes("a proxy refused a document")) ?? "";
    assert.equal(JSON.parse(logged).reason, "no idea\nforged line");
    const metrics = await (await fetch(`http://127.0.0.1:${test.operator.adminPort}/metrics`)).text();
    assert.match(metrics, /weft_document_nacks_total\{code="WEFT_UNKNOWN_FEATURE"\} 1/);
    test.store.delete(trafficPolicy({}));
  });

  it.each([
    "service/shop/nobody/80",
    "service/shop/web/81",
    "nonsense",
    "service/shop/web/80@shop/extra",
    "workload",
    "",
    "endpoints/../../etc",
  ])("answers Removed for %p, of which there is nothing", async (key) => {
    const stream = open();
    stream.subscribe(key);
    const message = await stream.next();
    assert.deepEqual([message.case, message.case === "removed" && message.value.key], ["removed", key]);
  });

  it("says Removed when an object goes and sends the document when it comes back", async () => {
    const stream = open();
    stream.subscribe(SERVICE);
    stream.ack(await stream.document());
    const [service] = shopObjects();
    assert.ok(service !== undefined);
    test.store.delete(service);
    const removed = await stream.next();
    assert.equal(removed.case, "removed");
    test.store.apply(service);
    assert.equal((await stream.document()).key, SERVICE);
  });

  it("ends when the client ends", async () => {
    const stream = open();
    stream.subscribe("trust");
    await stream.document();
    stream.end();
    assert.equal(await stream.ended(), true);
  });

  it("is refused without a client certificate", async () => {
    const error = await refusal(open("web-0", null));
    assert.equal(error.code, Code.Unauthenticated);
    assert.match(error.rawMessage, /^WEFT_NO_SVID: /);
    assert.equal(error.metadata.get("weft-code"), "WEFT_NO_SVID");
  });

  it("is refused with a certificate of another CA", async () => {
    const foreign = await startTestOperator([]);
    const stranger = await fetchSvid(foreign, "shop", "web");
    await foreign.close();
    const error = await refusal(open("web-0", { ...stranger, ca: svid.ca }));
    assert.equal(error.code, Code.Unauthenticated);
  });

  it.each([
    { name: "another pod of its namespace", key: "workload/shop/web-1" },
    { name: "a pod of another namespace", key: "workload/bank/web-0" },
    { name: "a path that is none", key: "workload/shop/web-0/x" },
  ])("is refused when it asks for the workload document of $name", async ({ key }) => {
    const stream = open();
    stream.subscribe(key);
    const error = await refusal(stream);
    assert.equal(error.code, Code.PermissionDenied);
    assert.match(error.rawMessage, /^WEFT_NOT_YOURS: /);
  });

  it("is refused when the pod it names runs under another service account", async () => {
    const stream = open("other-0");
    stream.subscribe("workload/shop/other-0");
    assert.equal((await refusal(stream)).code, Code.PermissionDenied);
  });

  it("lets any meshed identity read any service", async () => {
    const stream = open("x", await fetchSvid(test, "bank", "teller"));
    stream.subscribe(SERVICE);
    assert.equal((await stream.document()).key, SERVICE);
  });

  it.each([
    { name: "a subscription before Hello", act: (s: TestStream) => s.subscribe("trust"), code: Code.InvalidArgument, hello: false },
    { name: "a second Hello", act: (s: TestStream) => s.hello("web-0"), code: Code.InvalidArgument, hello: true },
    { name: "a key of 601 characters", act: (s: TestStream) => s.subscribe("x".repeat(601)), code: Code.InvalidArgument, hello: true },
    {
      name: "5,001 subscriptions",
      act: (s: TestStream) => s.subscribe(...Array.from({ length: 5001 }, (_, i) => `k${i}`)),
      code: Code.ResourceExhausted,
      hello: true,
    },
  ])("is refused for $name", async ({ act, code, hello }) => {
    const stream = new TestStream(test.operator.grpcPort, svid);
    streams.push(stream);
    if (hello) stream.hello("web-0");
    act(stream);
    const error = await drain(stream);
    assert.equal(error?.code, code);
  });

  it("keeps serving what is planned while the store is away, and catches up when it is back", async () => {
    test.store.disconnect();
    test.store.apply(trafficPolicy({ ...target, connections: { connectTimeout: "5s" } }));
    const stream = open();
    stream.subscribe(SERVICE);
    const before = await stream.document();
    assert.equal(before.body.case === "service" && before.body.value.clusters[0]?.connectTimeoutMs === 5000, false);
    stream.ack(before);
    test.store.reconnect();
    const after = await stream.document();
    assert.equal(after.body.case === "service" && after.body.value.clusters[0]?.connectTimeoutMs, 5000);
    test.store.delete(trafficPolicy({}));
  });
});

describe("an operator that stops", () => {
  it("says Goodbye on its streams and ends them", async () => {
    const test = await startTestOperator(shopObjects());
    const stream = new TestStream(test.operator.grpcPort, await fetchSvid(test, "shop", "web"));
    stream.hello("web-0");
    stream.subscribe("trust");
    await stream.document();
    const closed = test.close();
    assert.equal((await stream.next()).case, "goodbye");
    assert.equal(await stream.ended(), true);
    stream.end();
    await closed;
  });
});

async function drain(stream: TestStream): Promise<ConnectError | null> {
  for (;;) {
    const error = await stream.next().then(
      () => null,
      (e: unknown) => e,
    );
    if (error !== null) return error instanceof ConnectError ? error : null;
  }
}
