import assert from "node:assert/strict";
import { type InboundPort, MtlsMode, type Workload } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { planDocument, planMesh, planStatus, ResourceIndex } from "./plan.ts";
import { identity, pod, read } from "./testdata/read.ts";

const OLD = ', creationTimestamp: "2026-01-01T00:00:00Z"';
const NEW = ', creationTimestamp: "2026-01-02T00:00:00Z"';
const POD = pod("web", "app: web, tier: front");
const WEB = "selector: {matchLabels: {app: web}}";
const FRONT = "selector: {matchLabels: {tier: front}}";
const NOBODY = "selector: {matchLabels: {app: db}}";
const MESH = "weft-system/mesh";
const NAMES = ["UNSPECIFIED", "STRICT", "PERMISSIVE", "DISABLED"];

function indexOf(yaml: string): ResourceIndex {
  const index = new ResourceIndex();
  for (const object of read(yaml).filter((item) => item !== null)) index.apply({ type: "applied", object });
  return index;
}

/** "mode of the workload, mode of 8080". */
function modes(yaml: string): string {
  const body = planDocument(indexOf(POD + yaml), "workload/shop/web")?.body as Workload;
  const port = body.ports.find((candidate: InboundPort) => candidate.port === 8080);
  return `${NAMES[body.mtlsMode]}, ${NAMES[port?.mtlsMode ?? 0]}`;
}

describe("the mTLS mode of a workload", () => {
  it.each([
    { name: "is Permissive where nothing is said", yaml: "", expected: "PERMISSIVE, PERMISSIVE" },
    { name: "is the mesh's", yaml: identity(MESH, "mtls: {mode: Strict}"), expected: "STRICT, STRICT" },
    {
      name: "is Permissive where the mesh says nothing of it",
      yaml: identity(MESH, "trustDomain: x.test"),
      expected: "PERMISSIVE, PERMISSIVE",
    },
    {
      name: "is its namespace's before the mesh's",
      yaml: identity(MESH, "mtls: {mode: Strict}") + identity("shop/all", "mtls: {mode: Disabled}"),
      expected: "DISABLED, DISABLED",
    },
    { name: "is not another namespace's", yaml: identity("other/all", "mtls: {mode: Strict}"), expected: "PERMISSIVE, PERMISSIVE" },
    {
      name: "is its own before its namespace's, however young",
      yaml: identity("shop/all", "mtls: {mode: Strict}", OLD) + identity("shop/web", `${WEB}, mtls: {mode: Disabled}`, NEW),
      expected: "DISABLED, DISABLED",
    },
    {
      name: "is not of a selector that does not match",
      yaml: identity("shop/db", `${NOBODY}, mtls: {mode: Strict}`),
      expected: "PERMISSIVE, PERMISSIVE",
    },
    {
      name: "is the older of two selectors'",
      yaml: identity("shop/a", `${WEB}, mtls: {mode: Strict}`, NEW) + identity("shop/b", `${FRONT}, mtls: {mode: Disabled}`, OLD),
      expected: "DISABLED, DISABLED",
    },
    {
      name: "is the first by name of two of one age",
      yaml: identity("shop/b", `${WEB}, mtls: {mode: Strict}`) + identity("shop/a", `${FRONT}, mtls: {mode: Disabled}`),
      expected: "DISABLED, DISABLED",
    },
    {
      name: "counts an empty selector as the whole namespace",
      yaml: identity("shop/a", "selector: {}, mtls: {mode: Disabled}", OLD) + identity("shop/b", `${WEB}, mtls: {mode: Strict}`, NEW),
      expected: "STRICT, STRICT",
    },
    {
      name: "has a port's own",
      yaml: identity("shop/a", "mtls: {mode: Strict, ports: [{port: 8080, mode: Permissive}]}"),
      expected: "STRICT, PERMISSIVE",
    },
    {
      name: "takes the mesh's mode beside ports of its own",
      yaml: identity(MESH, "mtls: {mode: Strict}") + identity("shop/a", "mtls: {ports: [{port: 8080, mode: Permissive}]}"),
      expected: "STRICT, PERMISSIVE",
    },
    {
      name: "takes nothing from one that says nothing",
      yaml: identity("shop/web", WEB) + identity("shop/all", "mtls: {mode: Strict}"),
      expected: "STRICT, STRICT",
    },
    {
      name: "is what a refused object said before, lifted to the mesh's new minimum",
      yaml: identity("shop/all", "mtls: {mode: Disabled}") + identity(MESH, "mtls: {mode: Strict, minimum: Permissive}"),
      expected: "PERMISSIVE, PERMISSIVE",
    },
    {
      name: "is the mesh's where the only other is below the minimum from the start",
      yaml: identity(MESH, "mtls: {mode: Strict, minimum: Strict}") + identity("shop/all", "mtls: {mode: Disabled}"),
      expected: "STRICT, STRICT",
    },
    {
      name: "is not that of an object called mesh elsewhere than weft-system, beyond its namespace",
      yaml: identity("other/mesh", "mtls: {mode: Strict}"),
      expected: "PERMISSIVE, PERMISSIVE",
    },
  ])("$name", ({ yaml, expected }) => {
    assert.equal(modes(yaml), expected);
  });

  it("is told where two speak for the whole namespace", () => {
    const index = indexOf(identity("shop/a", "mtls: {mode: Strict}", NEW) + identity("shop/b", "mtls: {mode: Strict}", OLD));
    const condition = planStatus(index, "MeshIdentity/shop/a")?.conditions?.[0];
    assert.deepEqual([condition?.status, condition?.reason], ["False", "Conflicted"]);
    assert.match(condition?.message ?? "", /shop\/b, which is older/);
    assert.equal(planStatus(index, "MeshIdentity/shop/b")?.conditions?.[0]?.status, "True");
  });
});

describe("the trust domain", () => {
  it("is cluster.local unless the mesh says otherwise", () => {
    assert.equal(planMesh(new ResourceIndex()).trustDomain, "cluster.local");
    assert.equal(planMesh(indexOf(identity(MESH, "trustDomain: one.test"))).trustDomain, "one.test");
  });

  it.each([
    ["changed", "trustDomain: two.test"],
    ["taken away", "mtls: {mode: Strict}"],
  ])("cannot be %s: the generation is refused and the old one holds", (_what, spec) => {
    const index = indexOf(identity(MESH, "trustDomain: one.test") + identity(MESH, spec));
    assert.equal(planMesh(index).trustDomain, "one.test");
    const condition = planStatus(index, `MeshIdentity/${MESH}`)?.conditions?.[0];
    assert.deepEqual([condition?.status, condition?.reason], ["False", "Invalid"]);
    assert.match(condition?.message ?? "", /^spec\.trustDomain: /);
  });

  it("outlives the object that said it, so that a deleted mesh does not change everybody's name", () => {
    const index = indexOf(POD + identity(MESH, "trustDomain: one.test, mtls: {mode: Strict}"));
    const [object] = read(identity(MESH, "trustDomain: one.test"));
    assert.equal(index.apply({ type: "deleted", object: object! }).mesh, true);
    const body = planDocument(index, "workload/shop/web")?.body as Workload;
    assert.deepEqual([body.spiffeId, body.mtlsMode], ["spiffe://one.test/ns/shop/sa/web", MtlsMode.PERMISSIVE]);
    const [other] = read(identity(MESH, "trustDomain: two.test"));
    index.apply({ type: "applied", object: other! });
    assert.equal(planMesh(index).trustDomain, "one.test");
  });
});
