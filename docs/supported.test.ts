import assert from "node:assert/strict";
import { checkSchema, STRUCTURAL_SCHEMAS, WEFT_KINDS } from "#api/resources/schema-walk.ts";
import type { StructuralSchema } from "#api/resources/structural.ts";
import { objectWith, sample, supportOf } from "./supported.ts";

/** Paths of all fields below `path`, lists written "routes[]". */
function fields(schema: StructuralSchema, path: readonly string[]): (readonly string[])[] {
  const inner = schema.type === "array" ? schema.items : schema;
  const at = schema.type === "array" ? [...path.slice(0, -1), `${path.at(-1)}[]`] : path;
  return Object.entries(inner?.properties ?? {}).flatMap(([name, child]) => [[...at, name], ...fields(child, [...at, name])]);
}

function schemaOf(schema: StructuralSchema, path: readonly string[]): StructuralSchema {
  return path.reduce((at, step) => {
    const child = at.properties![step.replace("[]", "")]!;
    return step.endsWith("[]") ? child.items! : child;
  }, schema);
}

describe("what the page of resources says of today", () => {
  it.each(WEFT_KINDS)("was asked with objects that the schema accepts, so that plan looked further: %s", (kind) => {
    const schema = STRUCTURAL_SCHEMAS[kind];
    const problems = fields(schema.properties!["spec"]!, ["spec"]).flatMap((path) =>
      checkSchema(kind, objectWith(kind, path, sample(schemaOf(schema, path)))).map(
        ({ path: at, message }) => `${path.join(".")}: ${at} ${message}`,
      ),
    );
    assert.deepEqual(problems, []);
  });

  const cases: readonly { kind: (typeof WEFT_KINDS)[number]; path: string; support: unknown }[] = [
    { kind: "TrafficPolicy", path: "spec.routes[].timeouts.request", support: "yes" },
    { kind: "TrafficPolicy", path: "spec.routes[].rateLimit", support: "no" },
    { kind: "TrafficPolicy", path: "spec.connections.max", support: "default" },
    { kind: "TrafficPolicy", path: "spec.connections", support: "yes" },
    { kind: "TrafficPolicy", path: "spec.routes[].filters[].urlRewrite.hostname", support: "no" },
    {
      kind: "TrafficPolicy",
      path: "spec.routes[].filters[].type",
      support: { refused: ["RequestMirror", "RequestRedirect", "URLRewrite"] },
    },
    { kind: "MeshIdentity", path: "spec.certificates.ttl", support: "yes" },
    { kind: "MeshIdentity", path: "spec.issuer.secretRef", support: "no" },
    { kind: "AccessPolicy", path: "spec.rules", support: "no" },
  ];
  for (const { kind, path, support } of cases) {
    it(`is true of ${kind} ${path}`, () => assert.deepEqual(supportOf(kind, path.split(".")), support));
  }
});
