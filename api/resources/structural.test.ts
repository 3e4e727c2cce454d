import assert from "node:assert/strict";
import Type from "typebox";
import { structural } from "./structural.ts";

describe("the structural form", () => {
  it("has an enum where TypeBox has const, anyOf of consts or an enum without type", () => {
    assert.deepEqual(structural(Type.Literal("a")), { type: "string", enum: ["a"] });
    assert.deepEqual(structural(Type.Union([Type.Literal(301), Type.Literal(302)])), { type: "integer", enum: [301, 302] });
    assert.deepEqual(structural(Type.Enum(["a", "b"])), { type: "string", enum: ["a", "b"] });
  });

  it("has additionalProperties where TypeBox has patternProperties", () => {
    assert.deepEqual(structural(Type.Record(Type.String(), Type.String({ maxLength: 3 }))), {
      type: "object",
      additionalProperties: { type: "string", maxLength: 3 },
    });
  });

  it("keeps descriptions, defaults, bounds and Kubernetes' extensions, at every depth", () => {
    const schema = Type.Object({
      list: Type.Optional(
        Type.Array(Type.Integer({ minimum: 1, default: 2 }), { description: "d", maxItems: 3, "x-kubernetes-list-type": "set" }),
      ),
    });
    assert.deepEqual(structural(schema), {
      type: "object",
      properties: {
        list: {
          type: "array",
          description: "d",
          maxItems: 3,
          "x-kubernetes-list-type": "set",
          items: { type: "integer", minimum: 1, default: 2 },
        },
      },
    });
  });

  it("does not exist for what the API server would refuse or silently drop, and the error says where", () => {
    assert.throws(() => structural(Type.Object({ a: Type.Union([Type.String(), Type.Integer()]) })), /schema\.a: anyOf/);
    assert.throws(() => structural(Type.Object({ a: Type.Array(Type.Null()) })), /schema\.a\[\]: no single structural type/);
    assert.throws(() => structural(Type.Record(Type.String({ pattern: "^a" }), Type.String())), /patternProperties/);
    assert.throws(() => structural({ $ref: "#/x" }), /\$ref/);
    assert.throws(() => structural(Type.Number()), /no single structural type/);
    assert.throws(() => structural(Type.Array(Type.String(), { uniqueItems: true })), /uniqueItems/);
  });
});
