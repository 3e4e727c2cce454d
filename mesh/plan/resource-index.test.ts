import assert from "node:assert/strict";
import type { Endpoints } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { type DirtyKeys, planDocument, ResourceIndex } from "./plan.ts";
import { identity, pod, read, service, slice, traffic } from "./testdata/read.ts";

function one(yaml: string, resourceVersion?: string): KubeObject {
  const [object] = read(yaml);
  if (object === undefined) throw new Error("no object");
  return resourceVersion === undefined ? object : { ...object, metadata: { ...object.metadata, resourceVersion } };
}

const REVIEWS = one(service("reviews", "ports: [{name: http, port: 80, targetPort: 8080}]"), "10");
const KV = one(service("kv", "ports: [{name: kv, port: 6379}]"), "10");
const POD = one(pod("reviews-1", "app: reviews, version: v1"), "11");
const SLICE = one(slice("reviews", "{addresses: [10.0.0.1], targetRef: {kind: Pod, name: reviews-1}}"), "12");
const POLICY = one(traffic("reviews", "reviews", "subsets: [{name: v1, selector: {matchLabels: {version: v1}}}]"), "50");

function indexOf(...objects: KubeObject[]): ResourceIndex {
  const index = new ResourceIndex();
  index.replace(objects);
  return index;
}

function keys({ documents, statuses }: DirtyKeys): string[] {
  return [...documents, ...statuses].sort();
}

describe("a change touches", () => {
  const applied = (object: KubeObject) => ({ type: "applied", object }) as const;
  it.each([
    {
      name: "by a pod: its workload and the endpoints of Services that have it",
      objects: [REVIEWS, KV, SLICE],
      change: POD,
      touched: ["endpoints/shop/reviews/80", "workload/shop/reviews-1"],
    },
    {
      name: "by a slice: the endpoints of its Service",
      objects: [REVIEWS, KV, POD],
      change: SLICE,
      touched: ["endpoints/shop/reviews/80"],
    },
    {
      name: "by a slice of a Service with subsets: also who steers by them",
      objects: [REVIEWS, KV, POD, POLICY],
      change: SLICE,
      touched: ["TrafficPolicy/shop/reviews", "endpoints/shop/reviews/80", "service/shop/reviews/80"],
    },
    {
      name: "by a policy: its Service",
      objects: [REVIEWS, KV, POD, SLICE],
      change: POLICY,
      touched: ["TrafficPolicy/shop/reviews", "endpoints/shop/reviews/80", "service/shop/reviews/80"],
    },
    {
      name: "by a Service: its documents and the pods it selects",
      objects: [KV, POD, SLICE],
      change: REVIEWS,
      touched: ["endpoints/shop/reviews/80", "service/shop/reviews/80", "workload/shop/reviews-1"],
    },
    {
      name: "by a Service that others send to: those too",
      objects: [KV, one(traffic("kv", "kv", "routes: [{backendRefs: [{name: reviews, port: 80}]}]"))],
      change: REVIEWS,
      touched: ["TrafficPolicy/shop/kv", "endpoints/shop/reviews/80", "service/shop/kv/6379", "service/shop/reviews/80"],
    },
    {
      name: "by a MeshIdentity: the workloads of its namespace and who calls them",
      objects: [REVIEWS, KV, POD, SLICE],
      change: one(identity("shop/all", "mtls: {mode: Strict}")),
      touched: ["MeshIdentity/shop/all", "endpoints/shop/reviews/80", "workload/shop/reviews-1"],
    },
    {
      name: "by a kind of no interest: nothing",
      objects: [REVIEWS],
      change: one("{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: shop}}"),
      touched: [],
    },
    {
      name: "by another project's kind of the same name: nothing",
      objects: [REVIEWS],
      change: one("{apiVersion: kuma.io/v1alpha1, kind: MeshIdentity, metadata: {name: mesh, namespace: weft-system}, spec: {}}"),
      touched: [],
    },
  ])("$name", ({ objects, change, touched }) => {
    assert.deepEqual(keys(indexOf(...objects).apply(applied(change))), touched);
  });
});

describe("the revision of a document", () => {
  const key = "service/shop/reviews/80";
  it("is the highest of what it was planned from", () => {
    assert.equal(planDocument(indexOf(REVIEWS, KV), key)?.resourceVersion, 10n);
    assert.equal(planDocument(indexOf(REVIEWS, POLICY), key)?.resourceVersion, 50n);
  });

  it("grows when a policy is deleted or turns elsewhere, though what is left is older", () => {
    const index = indexOf(REVIEWS, POLICY);
    index.apply({ type: "deleted", object: { ...POLICY, metadata: { ...POLICY.metadata, resourceVersion: "60" } } });
    assert.equal(planDocument(index, key)?.resourceVersion, 60n);
    const turned = indexOf(REVIEWS, KV, POLICY);
    turned.apply({ type: "applied", object: one(traffic("reviews", "kv", "connections: {}"), "61") });
    assert.equal(planDocument(turned, key)?.resourceVersion, 61n);
  });

  it("is at least that of the newest object of a listing in which something is missing", () => {
    const index = indexOf(REVIEWS, POLICY);
    index.replace([REVIEWS, { ...KV, metadata: { ...KV.metadata, resourceVersion: "70" } }]);
    assert.equal(planDocument(index, key)?.resourceVersion, 70n);
  });

  it("is at least that of the store when the store tells it", () => {
    const index = new ResourceIndex();
    index.replace([REVIEWS], { listRevision: "99" });
    assert.equal(planDocument(index, key)?.resourceVersion, 99n);
  });

  it("outlives the document, for whoever must say that it is gone", () => {
    const index = indexOf(REVIEWS);
    index.apply({ type: "deleted", object: { ...REVIEWS, metadata: { ...REVIEWS.metadata, resourceVersion: "80" } } });
    assert.equal(planDocument(index, key), null);
    assert.equal(index.revisionOf(key), 80n);
  });
});

describe("a listing", () => {
  it("removes what it does not have, and says so", () => {
    const index = indexOf(REVIEWS, KV);
    const dirty = index.replace([KV]);
    assert.ok(dirty.documents.has("service/shop/reviews/80"));
    assert.equal(planDocument(index, "service/shop/reviews/80"), null);
  });

  it("forgets the last good generation of policies that are gone", () => {
    const index = indexOf(REVIEWS, POLICY);
    assert.deepEqual([...index.lastGood.keys()], ["TrafficPolicy/shop/reviews"]);
    index.replace([REVIEWS]);
    assert.deepEqual([...index.lastGood.keys()], []);
  });

  it("takes up what was stored before a restart", () => {
    const broken = one(traffic("reviews", "reviews", "rules: []"));
    const index = new ResourceIndex();
    index.replace([REVIEWS, broken], { lastGood: new Map([["TrafficPolicy/shop/reviews", POLICY]]) });
    assert.equal(planDocument(index, "service/shop/reviews/80")?.body.$typeName, "weft.discovery.v1.Service");
    assert.equal(index.traffic.get("shop/reviews")?.lastGood?.subsets?.length, 1);
  });
});

describe("a document key", () => {
  it.each([
    "",
    "trust",
    "service/shop/reviews",
    "service/shop/reviews/80@other",
    "service/shop/reviews/080",
    "workload/shop/reviews-1/x",
    "service/shop/reviews/80/x",
    "secret/shop/x",
  ])("%s names nothing that is planned", (key) => {
    assert.equal(planDocument(indexOf(REVIEWS, POD), key), null);
  });
});

describe("endpoints", () => {
  const endpoints = (...objects: KubeObject[]) => {
    const document = planDocument(indexOf(REVIEWS, ...objects), "endpoints/shop/reviews/80");
    return document === null ? [] : (document.body as Endpoints).upserts;
  };

  it("know a pod by its address where the slice does not name it", () => {
    const [endpoint] = endpoints(POD, one(slice("reviews", "{addresses: [10.0.0.1]}")));
    assert.deepEqual([endpoint?.spiffeId, endpoint?.pod], ["spiffe://cluster.local/ns/shop/sa/reviews-1", "shop/reviews-1"]);
  });

  it("are nobody's where several pods share the address of their host", () => {
    const [endpoint] = endpoints(POD, one(pod("other", "app: other")), one(slice("reviews", "{addresses: [10.0.0.1]}")));
    assert.deepEqual([endpoint?.spiffeId, endpoint?.ready], ["", true]);
  });

  it("stand once where two slices have the address, ready if one says so", () => {
    const other = one(
      slice("reviews", "{addresses: [10.0.0.1], conditions: {ready: false}}").replace("reviews-1, namespace", "reviews-0, namespace"),
    );
    assert.deepEqual(
      endpoints(POD, SLICE, other).map(({ address, ready }) => [address, ready]),
      [["10.0.0.1", true]],
    );
  });

  it("are found by the name of the port, and by none where the slice lacks it", () => {
    const numbers = one(slice("reviews", "{addresses: [10.0.0.1]}", { ports: "{name: http, port: 9000}, {name: admin, port: 1}" }));
    assert.deepEqual(
      endpoints(numbers).map(({ port }) => port),
      [9000],
    );
    assert.deepEqual(endpoints(one(slice("reviews", "{addresses: [10.0.0.1]}", { ports: "{name: admin, port: 1}" }))), []);
  });

  it("leave out what is no address", () => {
    assert.deepEqual(endpoints(one(slice("reviews", "{addresses: [example.com]}, {addresses: []}, {addresses: [1.2.3.400]}"))), []);
  });

  it("are not ready while the pod they name is unknown, ended or leaving", () => {
    const ended = one(pod("reviews-1", "app: reviews", { status: ", phase: Failed" }));
    const leaving = one(pod("reviews-1", "app: reviews", { metadata: ', deletionTimestamp: "2026-01-01T00:00:00Z"' }));
    const ready = [[SLICE], [SLICE, ended], [SLICE, leaving], [SLICE, POD]].map((objects) => endpoints(...objects)[0]?.ready);
    assert.deepEqual(ready, [false, false, false, true]);
  });

  it("of a dual-stack Service are of its own family", () => {
    const six = one(
      slice("reviews", "{addresses: ['fd00::1']}")
        .replace("reviews-1, namespace", "reviews-6, namespace")
        .replace("addressType: IPv4", "addressType: IPv6"),
    );
    assert.deepEqual(
      endpoints(POD, SLICE, six).map(({ address }) => address),
      ["10.0.0.1"],
    );
    assert.deepEqual(
      endpoints(six).map(({ address }) => address),
      ["fd00::1"],
    );
  });
});
