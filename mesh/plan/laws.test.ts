import assert from "node:assert/strict";
import fc from "fast-check";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import {
  type PlannedDocument,
  type PlannedStatus,
  plan,
  planDocument,
  planIndex,
  planMesh,
  planStatus,
  ResourceIndex,
  validate,
} from "./plan.ts";

/** Printed by fast-check on failure; fixed so that a red run is the same everywhere. */
const SEED = 20260801;

const NAMES = ["a", "b", "c"];
const name = fc.constantFrom(...NAMES);
const namespace = fc.constantFrom("shop", "shop", "shop", "other", "weft-system");
const labels = fc.record({ app: name, version: fc.constantFrom("v1", "v2") });
const createdAt = fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3");
const mode = fc.constantFrom("Strict", "Permissive", "Disabled");

function object(apiVersion: string, kind: string, metadata: fc.Arbitrary<object>, fields: fc.Arbitrary<object>): fc.Arbitrary<KubeObject> {
  return fc
    .tuple(name, namespace, metadata, fields)
    .map(([own, space, meta, rest]) => ({ apiVersion, kind, metadata: { name: own, namespace: space, ...meta }, ...rest }));
}

const services = object(
  "v1",
  "Service",
  fc.constant({}),
  fc.record({ app: name, port: fc.constantFrom("http", "raw"), second: fc.boolean() }).map(({ app, port, second }) => ({
    spec: {
      selector: { app },
      ports: [{ name: port, port: 80, targetPort: 8080 }, ...(second ? [{ name: "http-b", port: 81, targetPort: "b" }] : [])],
    },
  })),
);

const pods = object(
  "v1",
  "Pod",
  fc.record({ labels, annotations: fc.constantFrom({}, {}, { "weft.dev/inject": "disabled" }) }),
  fc.record({ podIP: address, phase: fc.constantFrom("Running", "Running", "Failed") }).map((status) => ({
    spec: { containers: [{ name: "app", ports: [{ containerPort: 8080 }, { name: "b", containerPort: 8081 }] }] },
    status,
  })),
);

const slices = object(
  "discovery.k8s.io/v1",
  "EndpointSlice",
  fc.record({
    labels: name.map((service) => ({ "kubernetes.io/service-name": service })),
    annotations: fc.constantFrom({}, {}, { "weft.dev/identity": "shop/x" }),
  }),
  fc.array(fc.tuple(address, fc.option(name, { nil: null }), fc.boolean()), { maxLength: 3 }).map((endpoints) => ({
    addressType: "IPv4",
    ports: [{ name: "http", port: 8080 }],
    endpoints: endpoints.map(([ip, pod, ready]) => ({
      addresses: [ip],
      conditions: { ready },
      ...(pod === null ? {} : { targetRef: { kind: "Pod", name: pod } }),
    })),
  })),
);

const backendRefs = fc.constantFrom(
  undefined,
  [{ subset: "v1", weight: 1 }, { subset: "v2" }],
  [{ name: "a", port: 80 }],
  [{ name: "b", port: 81, namespace: "other" }, { subset: "v9" }],
);
const policies = object(
  "weft.dev/v1alpha1",
  "TrafficPolicy",
  fc.record({ creationTimestamp: createdAt, uid: fc.constantFrom("1", "1", "2") }),
  fc
    .record({
      target: name,
      section: fc.constantFrom(undefined, undefined, "http"),
      refs: backendRefs,
      routed: fc.boolean(),
      algorithm: fc.constantFrom("RoundRobin", "PeakEWMA", "Random", "Nonsense"),
    })
    .map(({ target, section, refs, routed, algorithm }) => ({
      spec: {
        targetRefs: [{ group: "", kind: "Service", name: target, ...(section === undefined ? {} : { sectionName: section }) }],
        subsets: ["v1", "v2"].map((version) => ({ name: version, selector: { matchLabels: { version } } })),
        loadBalancer: { algorithm },
        ...(routed ? { routes: [refs === undefined ? {} : { backendRefs: refs }] } : {}),
      },
    })),
);

const identities = object(
  "weft.dev/v1alpha1",
  "MeshIdentity",
  fc.record({ creationTimestamp: createdAt }),
  fc.record({ app: fc.option(name, { nil: undefined }), mode }).map(({ app, mode }) => ({
    spec: {
      mtls: { mode, ports: [{ port: 8081, mode: "Permissive" }] },
      ...(app === undefined ? {} : { selector: { matchLabels: { app } } }),
    },
  })),
);
const mesh: fc.Arbitrary<KubeObject> = fc
  .record({ trustDomain: fc.constantFrom("one.test", "two.test"), mode, minimum: mode })
  .map(({ trustDomain, mode, minimum }) => ({
    apiVersion: "weft.dev/v1alpha1",
    kind: "MeshIdentity",
    metadata: { name: "mesh", namespace: "weft-system" },
    spec: { trustDomain, mtls: { mode, minimum } },
  }));
const access = object("weft.dev/v1alpha1", "AccessPolicy", fc.constant({}), fc.constant({ spec: { selector: {} } }));

const objects = fc.oneof(
  { weight: 4, arbitrary: services },
  { weight: 4, arbitrary: pods },
  { weight: 4, arbitrary: slices },
  { weight: 6, arbitrary: policies },
  { weight: 2, arbitrary: identities },
  { weight: 2, arbitrary: mesh },
  { weight: 1, arbitrary: access },
);
const changes: fc.Arbitrary<Change[]> = fc.array(
  fc.record({ type: fc.constantFrom("applied" as const, "applied" as const, "applied" as const, "deleted" as const), object: objects }),
  { maxLength: 40 },
);

function keyOf({ kind, metadata }: KubeObject): string {
  return `${kind}/${metadata.namespace}/${metadata.name}`;
}

/** What an operator does: applies changes, plans what is dirty, keeps the rest. */
class Follower {
  readonly index = new ResourceIndex();
  readonly objects = new Map<string, KubeObject>();
  readonly documents = new Map<string, PlannedDocument>();
  readonly statuses = new Map<string, PlannedStatus>();
  #revision = 0;

  apply({ type, object: { metadata, ...rest } }: Change): void {
    const object = { ...rest, metadata: { ...metadata, resourceVersion: String(++this.#revision) } };
    if (type === "applied") this.objects.set(keyOf(object), object);
    else this.objects.delete(keyOf(object));
    const dirty = this.index.apply({ type, object });
    for (const key of dirty.documents) setOrDelete(this.documents, key, planDocument(this.index, key));
    for (const key of dirty.statuses) setOrDelete(this.statuses, key, planStatus(this.index, key));
  }
}

function setOrDelete<V>(map: Map<string, V>, key: string, value: V | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}

function bodies(documents: ReadonlyMap<string, PlannedDocument>): unknown {
  return [...documents].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { body, requires }]) => ({ key, body, requires }));
}

function sorted<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

describe("planning", () => {
  it("comes to the same by single changes as all at once, and has then nothing more to accept", () => {
    fc.assert(
      fc.property(changes, (sequence) => {
        const follower = new Follower();
        for (const change of sequence) follower.apply(change);
        const whole = plan({ others: follower.objects.values(), lastGood: new Map(follower.index.lastGood) });
        assert.deepEqual(bodies(follower.documents), bodies(whole.documents));
        assert.deepEqual(sorted(follower.statuses), sorted(whole.statuses));
        assert.deepEqual(sorted(whole.accepted), []);
      }),
      { seed: SEED, numRuns: 400 },
    );
  });

  it("does not depend on the order in which objects are listed, and repeats itself", () => {
    const shuffled = fc.array(objects, { maxLength: 30 }).chain((list) => {
      const unique = [...new Map(list.map((item) => [keyOf(item), item])).values()];
      return fc.tuple(fc.constant(unique), fc.shuffledSubarray(unique, { minLength: unique.length }));
    });
    fc.assert(
      fc.property(shuffled, ([list, other]) => {
        const first = plan({ others: list });
        const second = plan({ others: other });
        assert.deepEqual(second.documents, first.documents);
        assert.deepEqual(second.statuses, first.statuses);
        assert.deepEqual(sorted(second.accepted), sorted(first.accepted));
        const again = plan({ others: other, lastGood: first.accepted });
        assert.deepEqual([again.documents, again.statuses, again.accepted.size], [first.documents, first.statuses, 0]);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("never goes back to a lower revision of a document, whatever is deleted", () => {
    fc.assert(
      fc.property(changes, (sequence) => {
        const follower = new Follower();
        for (const change of sequence) {
          const before = new Map(follower.documents);
          follower.apply(change);
          for (const [key, { resourceVersion }] of follower.documents) {
            const earlier = before.get(key)?.resourceVersion ?? 0n;
            assert.ok(resourceVersion >= earlier, `${key} went from ${earlier} to ${resourceVersion}`);
          }
        }
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("is quiet: the same object once more changes nothing", () => {
    fc.assert(
      fc.property(changes, (sequence) => {
        const follower = new Follower();
        for (const change of sequence) follower.apply(change);
        const before = planIndex(follower.index);
        for (const object of follower.objects.values()) assert.equal(follower.index.apply({ type: "applied", object }).accepted.size, 0);
        const after = planIndex(follower.index);
        assert.deepEqual(after.documents, before.documents);
        assert.deepEqual(after.statuses, before.statuses);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("survives any shape of object", () => {
    const kinds = fc.constantFrom(
      ["v1", "Service"],
      ["v1", "Pod"],
      ["discovery.k8s.io/v1", "EndpointSlice"],
      ["weft.dev/v1alpha1", "TrafficPolicy"],
      ["weft.dev/v1alpha1", "MeshIdentity"],
      ["weft.dev/v1alpha1", "AccessPolicy"],
      ["weft.dev/v1", "TrafficPolicy"],
      ["gateway.networking.k8s.io/v1", "HTTPRoute"],
    );
    const keys = fc.constantFrom(
      "targetRefs",
      "routes",
      "matches",
      "backendRefs",
      "subsets",
      "selector",
      "matchLabels",
      "ports",
      "port",
      "name",
      "kind",
      "mtls",
      "mode",
      "retry",
      "filters",
      "type",
      "faults",
      "delay",
      "fraction",
      "endpoints",
      "addresses",
      "targetRef",
      "issuer",
      "selfSigned",
      "rules",
      "when",
      "containers",
      "__proto__",
      "path",
      "value",
      "loadBalancer",
      "connections",
      "outlierDetection",
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 6 },
        fc.constantFrom<unknown>(null, "", "x", "1s", 0, 80, -1, 1.5, true, [], {}),
        fc.array(tie("tree"), { maxLength: 3 }),
        fc.dictionary(keys, tie("tree"), { maxKeys: 4 }),
      ),
    }));
    const wild = fc.tuple(kinds, name, tree, tree, tree).map(([[apiVersion, kind], own, spec, status, metadata]) => {
      const meta = typeof metadata === "object" && metadata !== null ? { ...metadata, name: own, namespace: "shop" } : metadata;
      return { apiVersion, kind, metadata: meta, ...(typeof spec === "object" ? spec : {}), spec, status } as unknown as KubeObject;
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(wild, objects), { maxLength: 8 }), (list) => {
        for (const object of list) assert.ok(Array.isArray(validate(object)));
        const index = new ResourceIndex();
        for (const object of list) index.apply({ type: "applied", object });
        planIndex(index);
        planMesh(index);
        for (const object of list) index.apply({ type: "deleted", object });
        assert.deepEqual([...planIndex(index).documents.keys()], []);
      }),
      { seed: SEED, numRuns: 1500 },
    );
  });
});
