import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "yaml";
import type { KubeObject } from "#api/resources/kube.ts";
import { validate } from "#mesh/plan/validate.ts";
import { asKubeError, type KubeError } from "./kube-error.ts";
import { collectionPath, resourceOf } from "./resource.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

/** The API server's half of crds/testdata: what crds.test.ts holds of a stand-in, held of the real one and of plan. */

const TESTDATA = path.resolve(import.meta.dirname, "../crds/testdata");

interface Example {
  readonly name: string;
  /** Of a rejected one: the field that is wrong. */
  readonly path: string;
  readonly object: KubeObject;
}

function examples(folder: string): readonly Example[] {
  return readdirSync(path.join(TESTDATA, folder)).map((file) => {
    const source = readFileSync(path.join(TESTDATA, folder, file), "utf8");
    const named = /^# path: (\S+) — \S/.exec(source)?.[1] ?? "";
    return { name: file.replace(".yaml", "").replaceAll("-", " "), path: named, object: parse(source) as KubeObject };
  });
}

const accepted = examples("accepted");
const rejected = examples("rejected");
const namespaces = [...new Set([...accepted, ...rejected].map(({ object }) => object.metadata.namespace ?? "default"))];

let test: TestServer;
beforeAll(async () => {
  test = await startTestServer(namespaces.filter((name) => name !== "default" && !name.startsWith("kube-")));
});
afterAll(async () => {
  await test?.stop();
});

/** Null when the server would take it. */
async function refusal(object: KubeObject): Promise<KubeError | null> {
  const resource = resourceOf(object.apiVersion, object.kind);
  assert.ok(resource);
  const query = { dryRun: "All", fieldValidation: "Strict" };
  try {
    await test.client.request({
      method: "POST",
      path: collectionPath(resource, object.metadata.namespace ?? "default"),
      query,
      body: object,
    });
    return null;
  } catch (error) {
    return asKubeError(error);
  }
}

const byPlan = (object: KubeObject): string[] =>
  validate(object)
    .filter(({ code }) => code === "WEFT_INVALID_FIELD" || code === "WEFT_UNKNOWN_FIELD")
    .map((problem) => problem.path);

describe("a real API server", () => {
  it("serves Weft's kinds in version and plural that kube/resource.ts says", async () => {
    for (const kind of ["TrafficPolicy", "MeshIdentity", "AccessPolicy"]) {
      const resource = resourceOf("weft.dev/v1alpha1", kind);
      assert.ok(resource);
      const { body } = await test.client.request({ method: "GET", path: collectionPath(resource) });
      assert.equal((body as { kind: string }).kind, `${kind}List`);
    }
  });

  it.each(accepted)("takes what plan takes: $name", async ({ object }) => {
    assert.deepEqual([await refusal(object), byPlan(object)], [null, []]);
  });

  it.each(rejected)("refuses what plan refuses, at the same field: $name", async ({ object, path: field }) => {
    const refused = await refusal(object);
    assert.notEqual(refused, null, "the API server takes it");
    assert.ok(byPlan(object).includes(field), `plan: ${byPlan(object).join(", ")}`);
    // A rule stands at or above the field that it is about. Strict decoding has no causes: its sentence names the field.
    const fields = refused?.causes.map((cause) => cause.field) ?? [];
    const names = fields.some((found) => isAtOrAbove(found, field)) || refused?.message.includes(`"${field}"`) === true;
    assert.ok(names, `${field} is named neither by ${fields.join(", ")} nor by: ${refused?.message}`);
  });
});

/** A key of a map is written ".key" by the server and "[key]" by plan. */
function isAtOrAbove(path: string, named: string): boolean {
  const below = named.replace(/\[([^\d\]][^\]]*)\]/g, ".$1");
  return path === below || below.startsWith(`${path}.`) || below.startsWith(`${path}[`);
}
