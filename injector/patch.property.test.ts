import assert from "node:assert/strict";
import fc from "fast-check";
import { difference } from "./json-patch.ts";
import { mesh, patchFor } from "./patch.ts";
import { list, record, type Json } from "./pod.ts";
import { applyPatch } from "./test-apply.ts";
import { SETTINGS } from "./test-settings.ts";

const name = fc.constantFrom("app", "a", "b", "agent", "x/y", "~0");
const value: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, 0, 1, "", "x"),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.uniqueArray(fc.record({ name, value: tie("value") }), { selector: (item) => item.name, maxLength: 5 }),
    fc.dictionary(fc.constantFrom("a", "b/c", "d~e", "name", "spec", "__proto__"), tie("value"), { maxKeys: 4 }),
  ),
})).value;

const port = fc.constantFrom(80, 8080, "http", "70");
const probe = fc.oneof(
  fc.record({ httpGet: fc.record({ port, path: fc.constantFrom("/", "/x?y=$(A)", "z") }) }),
  fc.record({ tcpSocket: fc.record({ port }), timeoutSeconds: fc.constantFrom(0, 1, 30) }),
  fc.record({ grpc: fc.record({ port: fc.constant(9000) }) }),
  fc.record({ exec: fc.record({ command: fc.constant(["true"]) }) }),
);
const container = fc.record(
  {
    name: fc.constantFrom("app", "b", "c", "d", "e"),
    image: fc.constant("x:1"),
    ports: fc.constant([{ name: "http", containerPort: 8080 }]),
    readinessProbe: probe,
    livenessProbe: probe,
    lifecycle: fc.record({ preStop: probe }),
  },
  { requiredKeys: ["name"] },
);
/** Names are unique in a pod, over both lists. */
const sidecars = fc.uniqueArray(
  container.map((one) => ({ ...one, name: `init-${one.name}` })),
  { selector: (one) => one.name, maxLength: 3 },
);
const containers = fc.uniqueArray(container, { selector: (one) => one.name, minLength: 1, maxLength: 4 });
const pod: fc.Arbitrary<Json> = fc.record({
  metadata: fc.record({ labels: fc.dictionary(fc.constantFrom("app", "weft.dev/proxy"), fc.constant("x")) }, { requiredKeys: [] }),
  spec: fc.record(
    { containers, initContainers: sidecars, volumes: fc.constant([{ name: "v", emptyDir: {} }]) },
    { requiredKeys: ["containers"] },
  ),
});

/** As over the wire. */
const sent = (one: unknown): Json => JSON.parse(JSON.stringify(one)) as Json;

describe("a difference as JSON Patch", () => {
  it("turns the one value into the other, whatever the two are", () => {
    fc.assert(
      fc.property(value, value, (from, to) => {
        assert.deepEqual(applyPatch(from, difference(from, to)), sent(to));
      }),
    );
  });

  it("is empty between equal values", () => {
    fc.assert(fc.property(value, (one) => assert.deepEqual(difference(one, sent({ one })["one"]), [])));
  });

  it("moves, adds and removes elements of a list by their names", () => {
    const named = (...names: string[]) => names.map((one) => ({ name: one }));
    assert.deepEqual(difference(named("a", "b", "c"), named("x", "c", "a")), [
      { op: "remove", path: "/1" },
      { op: "add", path: "/0", value: { name: "x" } },
      { op: "move", from: "/2", path: "/1" },
    ]);
  });

  it("escapes what RFC 6901 wants escaped", () => {
    assert.deepEqual(difference({}, { "a/b~c": 1 }), [{ op: "add", path: "/a~1b~0c", value: 1 }]);
  });
});

describe("the patch of a pod", () => {
  it("makes the meshed pod, and of that nothing more", () => {
    fc.assert(
      fc.property(pod, (one) => {
        const after = applyPatch(one, patchFor(one, SETTINGS)) as Json;
        assert.deepEqual(after, sent(mesh(one, SETTINGS)));
        assert.deepEqual(patchFor(after, SETTINGS), []);
      }),
    );
  });

  it("keeps every probe's table entry when another webhook adds a container and we are asked again", () => {
    fc.assert(
      fc.property(pod, container, (one, added) => {
        const first = sent(mesh(one, SETTINGS));
        const others = list(record(first["spec"])["containers"]).filter((item) => record(item)["name"] !== added.name);
        const between = sent({ ...first, spec: { ...record(first["spec"]), containers: [...others, added] } });
        const original = list(record(one["spec"])["containers"]).filter((item) => record(item)["name"] !== added.name);
        const atOnce = sent(mesh(sent({ ...one, spec: { ...record(one["spec"]), containers: [...original, added] } }), SETTINGS));
        assert.deepEqual(applyPatch(between, patchFor(between, SETTINGS)), atOnce);
      }),
    );
  });

  it("never lets the kubelet replace a variable in what the pod's author wrote", () => {
    fc.assert(
      fc.property(pod, (one) => {
        const [, proxy] = list(record(mesh(one, SETTINGS)["spec"])["initContainers"]).map(record);
        const probes =
          list(proxy?.["env"])
            .map(record)
            .find((variable) => variable["name"] === "WEFT_PROBES")?.["value"] ?? "";
        assert.ok(!String(probes).includes("$"));
      }),
    );
  });
});
