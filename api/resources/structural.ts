/**
 * The subset of JSON Schema that the API server takes as a CustomResourceDefinition's structural schema: every node
 * one type, no references, no `const`, `anyOf` or `patternProperties`. TypeBox's output is brought into it by
 * `structural`; crds/generate.ts prints it, schema-walk.ts judges by it.
 */
export interface StructuralSchema {
  readonly type: "object" | "array" | "string" | "integer" | "boolean";
  readonly description?: string;
  readonly default?: unknown;
  readonly format?: string;
  readonly enum?: readonly (string | number | boolean)[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly items?: StructuralSchema;
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: StructuralSchema;
  readonly "x-kubernetes-list-type"?: "atomic" | "set" | "map";
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-validations"?: readonly { readonly rule: string; readonly message: string; readonly fieldPath?: string }[];
}

type Node = Readonly<Record<string, unknown>>;

const COPIED = [
  "type",
  "description",
  "default",
  "format",
  "enum",
  "pattern",
  "minLength",
  "maxLength",
  "minimum",
  "maximum",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
  "x-kubernetes-validations",
];
const REBUILT = ["const", "anyOf", "items", "properties", "required", "additionalProperties", "patternProperties"];
const TYPES = ["object", "array", "string", "integer", "boolean"];

/**
 * The structural form of a schema. Throws TypeError, naming the place, on what has none: that is a mistake in our
 * schemas, found when they are generated.
 */
export function structural(schema: object, at = "schema"): StructuralSchema {
  const node = schema as Node;
  for (const key of Object.keys(node)) {
    if (!COPIED.includes(key) && !REBUILT.includes(key)) throw new TypeError(`${at}: ${key} has no structural form`);
  }
  const out: Record<string, unknown> = {};
  for (const key of COPIED) if (node[key] !== undefined) out[key] = node[key];
  const words = choices(node, at);
  if (words !== null) {
    out["enum"] = words;
    out["type"] = typeof words[0] === "number" ? "integer" : typeof words[0];
  }
  if (!TYPES.includes(out["type"] as string)) throw new TypeError(`${at}: no single structural type`);
  if (node["items"] !== undefined) out["items"] = structural(node["items"] as object, `${at}[]`);
  if (node["properties"] !== undefined) {
    out["properties"] = Object.fromEntries(
      Object.entries(node["properties"] as Record<string, object>).map(([name, property]) => [name, structural(property, `${at}.${name}`)]),
    );
  }
  const required = node["required"] as readonly string[] | undefined;
  if (required !== undefined && required.length > 0) out["required"] = required;
  const values = mapValues(node, at);
  if (values !== null) out["additionalProperties"] = structural(values, `${at}.*`);
  return out as unknown as StructuralSchema;
}

/** The words of `const`, of an `anyOf` of consts, or of an `enum`; null when the node has none. */
function choices(node: Node, at: string): readonly unknown[] | null {
  if (node["const"] !== undefined) return [node["const"]];
  if (node["anyOf"] !== undefined) {
    const values = (node["anyOf"] as readonly Node[]).map((branch) => branch["const"]);
    if (values.some((value) => value === undefined)) throw new TypeError(`${at}: anyOf of anything but consts has no structural form`);
    return values;
  }
  return node["type"] === undefined && node["enum"] !== undefined ? (node["enum"] as readonly unknown[]) : null;
}

/** Schema of a map's values. `additionalProperties: false` is dropped: the API server knows unknown fields without it. */
function mapValues(node: Node, at: string): object | null {
  const additional = node["additionalProperties"];
  if (typeof additional === "object" && additional !== null) return additional;
  const patterns = Object.entries((node["patternProperties"] ?? {}) as Record<string, object>);
  if (patterns.length === 0) return null;
  const [first, ...rest] = patterns;
  if (first === undefined || rest.length > 0 || !/^\^\.[*+]\$$/.test(first[0]))
    throw new TypeError(`${at}: patternProperties has no structural form`);
  return first[1];
}
