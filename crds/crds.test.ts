import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { parse as parseYaml } from "yaml";
import type { KubeObject } from "#api/resources/kube.ts";
import { checkSchema, STRUCTURAL_SCHEMAS, WEFT_KINDS, type WeftKind } from "#api/resources/schema-walk.ts";
import type { StructuralSchema } from "#api/resources/structural.ts";
import { validate } from "#mesh/plan/validate.ts";
import { ApiServer, childrenOf, rulesOf, withDefaults } from "./apiserver.ts";
import { definitionFiles, root } from "./definitions.ts";

interface Example {
  readonly name: string;
  readonly comment: string;
  readonly object: KubeObject & { readonly kind: WeftKind };
}

/** URLs from import.meta are jest's own here: a string, to be read against the folder of this file. */
const here = new URL("./", import.meta.url);
const accepted = examples("accepted");
const rejected = examples("rejected");
const servers = Object.fromEntries(WEFT_KINDS.map((kind) => [kind, new ApiServer(root(STRUCTURAL_SCHEMAS[kind]))])) as Record<
  WeftKind,
  ApiServer
>;

function examples(folder: string): readonly Example[] {
  const at = new URL(`testdata/${folder}/`, here);
  return [...readdirSync(at)].sort().map((file) => {
    const text = readFileSync(new URL(file, at), "utf8");
    return {
      name: file.replace(".yaml", "").replaceAll("-", " "),
      comment: text.split("\n", 1)[0] ?? "",
      object: parseYaml(text) as Example["object"],
    };
  });
}

/** What plan says of the object being wrong; that a field is not acted on yet is no such thing. */
function planRefusals(object: KubeObject): readonly string[] {
  return validate(object)
    .filter(({ code }) => code === "WEFT_INVALID_FIELD" || code === "WEFT_UNKNOWN_FIELD")
    .map(({ path }) => path);
}

/** The path of a rejected example's comment: "# path: spec.routes[0].timeouts — why". */
function namedPath({ comment }: Example): string {
  return /^# path: (\S+) — \S/.exec(comment)?.[1] ?? "";
}

function isAtOrAbove(path: string, below: string): boolean {
  return path === below || below.startsWith(`${path}.`) || below.startsWith(`${path}[`);
}

describe("the examples", () => {
  it("are many, and each rejected one names a path and why", () => {
    assert.ok(accepted.length >= 20);
    assert.ok(rejected.length >= 40);
    assert.deepEqual(
      rejected.filter((example) => namedPath(example) === "").map(({ name }) => name),
      [],
    );
  });

  it("break every rule of every kind at least once", () => {
    const broken = new Set(rejected.flatMap(({ object }) => servers[object.kind].judge(object).map(({ rule }) => rule)));
    const unbroken = WEFT_KINDS.flatMap((kind) => rulesOf(STRUCTURAL_SCHEMAS[kind])).filter(
      (rule) => !rule.includes("oldSelf") && !broken.has(rule),
    );
    assert.deepEqual(unbroken, []);
  });
});

describe("an accepted example", () => {
  it.each(accepted)("$name: neither API server nor plan objects", ({ object }) => {
    assert.deepEqual(servers[object.kind].judge(object), []);
    assert.deepEqual(planRefusals(object), []);
  });
});

describe("a rejected example", () => {
  it.each(rejected)("$name: API server and plan both object there ($comment)", (example) => {
    const path = namedPath(example);
    const byServer = servers[example.object.kind].judge(example.object).map((refusal) => refusal.path);
    const byPlan = planRefusals(example.object);
    // CEL cannot name an item of a list that it iterates, so its path may be that of the list.
    assert.ok(
      byServer.some((found) => isAtOrAbove(found, path)),
      `API server: ${byServer.join(", ") || "accepted"}`,
    );
    assert.ok(byPlan.includes(path), `plan: ${byPlan.join(", ") || "accepted"}`);
  });
});

describe("trustDomain", () => {
  const mesh = (spec: object) => ({
    apiVersion: "weft.dev/v1alpha1",
    kind: "MeshIdentity",
    metadata: { name: "mesh", namespace: "weft-system" },
    spec,
  });
  const update = (from: object, to: object) => servers.MeshIdentity.judge(mesh(to), mesh(from)).map(({ path }) => path);

  it("cannot be changed, taken away or given later, except to its default", () => {
    assert.deepEqual(update({ trustDomain: "a.example" }, { trustDomain: "b.example" }), ["spec.trustDomain"]);
    assert.deepEqual(update({ trustDomain: "a.example" }, {}), ["spec.trustDomain"]);
    assert.deepEqual(update({}, { trustDomain: "a.example" }), ["spec.trustDomain"]);
    assert.deepEqual(update({}, { trustDomain: "cluster.local" }), []);
    assert.deepEqual(update({ trustDomain: "a.example" }, { trustDomain: "a.example", mtls: { mode: "Strict" } }), []);
  });
});

/** A copy that shares nothing, so that no change can make an object contain itself. */
function copy<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

describe("a changed example", () => {
  // Changes: a value replaced, a field removed, added or doubled, a part taken from another example of the kind.
  const everything = [...accepted, ...rejected];
  const junk = [
    null,
    true,
    false,
    0,
    -1,
    1,
    1.5,
    100,
    1e9,
    "",
    "a",
    "A b",
    "1s",
    "24h",
    "1d",
    "v1",
    "Strict",
    "/a/../b",
    "x".repeat(300),
    [],
    {},
    [1],
    ["a", "a"],
    { name: "a" },
  ];
  const changed = fc
    .tuple(fc.constantFrom(...everything), fc.array(fc.tuple(fc.nat(), fc.nat(4), fc.nat()), { minLength: 1, maxLength: 3 }))
    .map(([example, changes]) => {
      const object = copy(example.object);
      for (const [place, change, pick] of changes) mutate(object, place, change, pick);
      return object;
    });

  function mutate(object: KubeObject, place: number, change: number, pick: number): void {
    const places = containers((object as { spec?: unknown }).spec);
    const target = places[place % Math.max(places.length, 1)];
    if (target === undefined) return;
    const keys = Object.keys(target);
    const key = keys[pick % Math.max(keys.length, 1)] ?? "name";
    const value = copy(junk[pick % junk.length]);
    if (change === 0) target[key] = value;
    else if (change === 1) delete target[key];
    else if (change === 2) target[`${key}s`] = value;
    else if (change === 3 && Array.isArray(target)) target.push(copy(target[pick % Math.max(target.length, 1)] ?? value));
    else {
      const other = everything.filter(({ object: { kind } }) => kind === object.kind)[pick % 10]?.object.spec;
      Object.assign((object as { spec: object }).spec, copy(other ?? {}));
    }
    // Arrays whose items were deleted have holes, which no YAML can say.
    if (Array.isArray(target)) target.splice(0, target.length, ...target.filter((item) => item !== undefined));
  }

  function containers(value: unknown): Record<string, unknown>[] {
    if (typeof value !== "object" || value === null) return [];
    return [value as Record<string, unknown>, ...Object.values(value).flatMap(containers)];
  }

  it("is judged by our schema walk as by ajv, in 2000 cases", () => {
    fc.assert(
      fc.property(changed, (object) => {
        const ours = checkSchema(object.kind, object).map(({ path }) => path);
        const theirs = servers[object.kind].judgeSchema(object).map(({ path }) => path);
        assert.equal(ours.length === 0, theirs.length === 0, `walk: ${ours.join(", ")}; ajv: ${theirs.join(", ")}`);
        // ajv names the list where an item is doubled, we the item.
        for (const path of ours)
          assert.ok(
            theirs.some((found) => isAtOrAbove(found, path)),
            `${path} is only ours; ajv: ${theirs.join(", ")}`,
          );
      }),
      { numRuns: 2000 },
    );
  });

  it("is judged by plan as by schema and CEL, in 2000 cases", () => {
    // CEL cannot see the namespace: that the mesh's own object takes no selector at all only plan can say.
    const needsNamespace = (object: Example["object"]) =>
      object.metadata.name === "mesh" && (object.spec as { selector?: unknown } | undefined)?.selector !== undefined;
    fc.assert(
      fc.property(
        changed.filter((object) => !needsNamespace(object)),
        (object) => {
          const byServer = servers[object.kind].judge(object).map(({ path }) => path);
          const byPlan = planRefusals(object);
          assert.equal(byPlan.length === 0, byServer.length === 0, `plan: ${byPlan.join(", ")}; API server: ${byServer.join(", ")}`);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("a definition", () => {
  const nodes = (schema: StructuralSchema, at: string): (readonly [string, StructuralSchema])[] => [
    [at, schema],
    ...childrenOf(schema).flatMap((child, i) => nodes(child, `${at}/${i}`)),
  ];
  const all = WEFT_KINDS.flatMap((kind) => nodes(STRUCTURAL_SCHEMAS[kind], kind));

  it("is committed as it is generated", () => {
    for (const [name, text] of definitionFiles()) assert.equal(readFileSync(new URL(name, here), "utf8"), text);
  });

  it("bounds every text, number, list and map, so that rules have a price", () => {
    const unbounded = all.filter(
      ([at, { type, ...schema }]) =>
        at.split("/").length > 2 &&
        schema.enum === undefined &&
        ((type === "string" && schema.maxLength === undefined) ||
          (type === "integer" && schema.minimum === undefined) ||
          (type === "array" && schema.maxItems === undefined) ||
          (schema.additionalProperties !== undefined && schema.maxProperties === undefined)),
    );
    assert.deepEqual(unbounded, []);
  });

  it("describes every field for kubectl explain", () => {
    const described = WEFT_KINDS.flatMap((kind) =>
      fields(STRUCTURAL_SCHEMAS[kind].properties?.["spec"] ?? { type: "object" }, `${kind}.spec`),
    );
    assert.deepEqual(
      described.filter(([, { description }]) => description === undefined || description.length < 4).map(([at]) => at),
      [],
    );
  });

  it("has defaults that its own schema and rules accept", () => {
    const defaults = all.filter(([, schema]) => schema.default !== undefined);
    assert.ok(defaults.length > 20);
    for (const [at, schema] of defaults) assert.deepEqual(new ApiServer(schema).judge(schema.default), [], at);
  });

  it("means the same after its defaults are stored", () => {
    for (const { object } of [...accepted, ...rejected]) {
      const stored = withDefaults(root(STRUCTURAL_SCHEMAS[object.kind]), object) as KubeObject;
      assert.equal(planRefusals(stored).length === 0, planRefusals(object).length === 0, JSON.stringify(object));
    }
  });
});

function fields(schema: StructuralSchema, at: string): (readonly [string, StructuralSchema])[] {
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, child]) => fields(child, `${at}.${name}`));
  return [[at, schema], ...below, ...(schema.items === undefined ? [] : fields(schema.items, `${at}[]`))];
}
