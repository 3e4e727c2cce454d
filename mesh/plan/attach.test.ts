import assert from "node:assert/strict";
import type { Service } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type PlannedStatus, planDocument, planStatus, ResourceIndex } from "./plan.ts";
import { read, service, traffic } from "./testdata/read.ts";

const REVIEWS = service("reviews", "ports: [{name: http, port: 80}, {name: raw, port: 81}]");
const KV = service("kv", "ports: [{name: kv, port: 6379}]");
const OLD = ', creationTimestamp: "2025-12-31T23:59:59Z"';
const NEW = ', creationTimestamp: "2026-01-01T00:00:00Z"';
const wait = (seconds: number) => `connections: {connectTimeout: ${seconds}s}`;
const onPort = (name: string, port: string, seconds: number, metadata = "") =>
  traffic(name, `reviews, sectionName: ${port}`, wait(seconds), metadata);

function indexOf(yaml: string): ResourceIndex {
  const index = new ResourceIndex();
  for (const object of read(yaml).filter((item) => item !== null)) index.apply({ type: "applied", object });
  return index;
}

/** Which policy holds: each of them sets a connect timeout of its own. */
function holds(index: ResourceIndex, key = "service/shop/reviews/80"): string {
  const body = planDocument(index, key)?.body as Service;
  return `${body.policy.replace("TrafficPolicy shop/", "") || "none"} ${(body.clusters[0]?.connectTimeoutMs ?? 0) / 1000}`;
}

function reasons(status: PlannedStatus | null): string[] {
  return (status?.ancestors ?? []).flatMap(({ conditions }) =>
    conditions.filter(({ type }) => type === "Accepted").map(({ reason }) => reason),
  );
}

describe("the policy for a port of a Service", () => {
  it.each([
    { name: "is none where none targets it", yaml: "", expected: "none 1" },
    { name: "is the only one", yaml: traffic("a", "reviews", wait(2)), expected: "a 2" },
    { name: "is the older of two", yaml: traffic("a", "reviews", wait(2), NEW) + traffic("b", "reviews", wait(3), OLD), expected: "b 3" },
    {
      name: "is the first by name of two of one age",
      yaml: traffic("b", "reviews", wait(3), NEW) + traffic("a", "reviews", wait(2), NEW),
      expected: "a 2",
    },
    {
      name: "is by name in byte order: - before 0 before a",
      yaml: traffic("a0", "reviews", wait(2)) + traffic("a-z", "reviews", wait(3)) + traffic("aa", "reviews", wait(4)),
      expected: "a-z 3",
    },
    {
      name: "is the one that names the port, however young",
      yaml: traffic("a", "reviews", wait(2), OLD) + onPort("b", "http", 3, NEW),
      expected: "b 3",
    },
    { name: "is not one that names another port", yaml: onPort("b", "raw", 3), expected: "none 1" },
    {
      name: "is not an older one that was never good",
      yaml: traffic("a", "reviews", "rules: []", OLD) + traffic("b", "reviews", wait(3), NEW),
      expected: "b 3",
    },
    {
      name: "is an older one by what it last said well",
      yaml: traffic("a", "reviews", wait(2), OLD) + traffic("b", "reviews", wait(3), NEW) + traffic("a", "reviews", "rules: []", OLD),
      expected: "a 2",
    },
    {
      name: "is not one that now targets another Service",
      yaml: traffic("a", "reviews", wait(2), OLD) + traffic("a", "kv", wait(2), OLD),
      expected: "none 1",
    },
    {
      name: "is still one whose refused generation targets another Service",
      yaml: traffic("a", "reviews", wait(2), OLD) + traffic("a", "kv", "rules: []", OLD),
      expected: "a 2",
    },
  ])("$name", ({ yaml, expected }) => {
    assert.equal(holds(indexOf(REVIEWS + KV + yaml)), expected);
  });

  it("passes to the next when the one that holds is deleted", () => {
    const index = indexOf(REVIEWS + traffic("a", "reviews", wait(2), OLD) + traffic("b", "reviews", wait(3), NEW));
    const [object] = read(traffic("a", "reviews", wait(2), OLD));
    index.apply({ type: "deleted", object: object! });
    assert.equal(holds(index), "b 3");
    assert.deepEqual(reasons(planStatus(index, "TrafficPolicy/shop/b")), ["Accepted"]);
  });

  it("stays what it was when a new generation brings routes to a Service without HTTP", () => {
    const index = indexOf(KV + traffic("kv", "kv", wait(2)) + traffic("kv", "kv", `${wait(3)}, routes: [{name: all}]`));
    assert.equal(holds(index, "service/shop/kv/6379"), "kv 2");
    assert.deepEqual(reasons(planStatus(index, "TrafficPolicy/shop/kv")), ["Invalid"]);
  });

  it("holds at last when the Service comes to declare HTTP", () => {
    const index = indexOf(KV + traffic("kv", "kv", `${wait(3)}, routes: [{name: all}]`));
    assert.equal(holds(index, "service/shop/kv/6379"), "none 1");
    const [http] = read(service("kv", "ports: [{name: kv, port: 6379, appProtocol: http}]"));
    const dirty = index.apply({ type: "applied", object: http! });
    assert.equal(holds(index, "service/shop/kv/6379"), "kv 3");
    assert.deepEqual([...dirty.accepted], ["TrafficPolicy/shop/kv"]);
  });

  it("says that a generation stays in force only where one does", () => {
    const good = traffic("kv", "kv", "routes: [{name: all}]", ", generation: 2");
    const index = indexOf(service("kv", "ports: [{name: http, port: 80}]") + good);
    const message = () => planStatus(index, "TrafficPolicy/shop/kv")?.ancestors?.[0]?.conditions[0]?.message ?? "";
    index.apply({ type: "applied", object: read(traffic("kv", "kv", "rules: []", ", generation: 3"))[0]! });
    assert.match(message(), /Generation 2 stays in force\.$/);
    index.apply({ type: "applied", object: read(traffic("a", "kv", wait(1)))[0]! });
    assert.doesNotMatch(message(), /stays in force/);
    index.apply({ type: "applied", object: read(good)[0]! });
    index.apply({ type: "applied", object: read(KV)[0]! });
    assert.match(message(), /does not declare HTTP|declares HTTP/);
    assert.doesNotMatch(message(), /stays in force/);
  });

  it("is forgotten with its object: one of the same name and another uid inherits nothing", () => {
    const uid = (value: string) => `, uid: "${value}"`;
    const index = indexOf(REVIEWS + traffic("a", "reviews", wait(2), uid("1")) + traffic("a", "reviews", "rules: []", uid("2")));
    assert.equal(holds(index), "none 1");
  });
});

describe("the status of a policy", () => {
  it("is of each target by itself", () => {
    const two = `{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {name: two, namespace: shop}, spec: {targetRefs: [{group: "", kind: Service, name: reviews}, {group: "", kind: Service, name: kv}, {group: "", kind: Service, name: nobody}, {group: "", kind: Service, name: reviews, sectionName: nowhere}], routes: [{name: all}]}}\n---\n`;
    const status = planStatus(indexOf(REVIEWS + KV + two), "TrafficPolicy/shop/two");
    assert.deepEqual(reasons(status), ["Accepted", "Invalid", "TargetNotFound", "TargetNotFound"]);
    assert.deepEqual(
      status?.ancestors?.map(({ documents }) => documents.length),
      [2, 0, 0, 0],
    );
  });

  it("names the object itself where its targets cannot be read", () => {
    const [broken] = read(
      "{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {name: x, namespace: shop}, spec: {targetRefs: {}}}",
    );
    const index = new ResourceIndex();
    index.apply({ type: "applied", object: broken! });
    const ancestors = planStatus(index, "TrafficPolicy/shop/x")?.ancestors;
    assert.deepEqual(
      ancestors?.map(({ ancestorRef }) => ancestorRef),
      [{ group: "weft.dev", kind: "TrafficPolicy", namespace: "shop", name: "x" }],
    );
  });

  it("tells ten problems and counts the rest", () => {
    const routes = Array.from({ length: 13 }, () => "{rateLimit: {requestsPerSecond: 1}}").join(", ");
    const status = planStatus(indexOf(REVIEWS + traffic("a", "reviews", `routes: [${routes}]`)), "TrafficPolicy/shop/a");
    const lines = status?.ancestors?.[0]?.conditions[0]?.message.split("\n");
    assert.deepEqual([lines?.length, lines?.at(-1)], [11, "And 3 more."]);
  });
});
