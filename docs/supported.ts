import type { KubeObject } from "#api/resources/kube.ts";
import { MESH_IDENTITY_NAME, SYSTEM_NAMESPACE, WEFT_API_VERSION } from "#api/resources/object.ts";
import { STRUCTURAL_SCHEMAS, type WeftKind } from "#api/resources/schema-walk.ts";
import type { StructuralSchema } from "#api/resources/structural.ts";
import { validate } from "#mesh/plan/validate.ts";

/** Whether this version acts on a field, found out by asking `plan`: yes, no, its default only, or all but some of its values. */
export type Support = "yes" | "no" | "default" | { readonly refused: readonly string[] };

/** `path` begins with "spec"; lists are written "routes[]". */
export function supportOf(kind: WeftKind, path: readonly string[]): Support {
  const field = schemaAt(STRUCTURAL_SCHEMAS[kind], path);
  const values = field.enum === undefined ? [sample(field)] : field.enum;
  const refused = values.filter((value) => isRefused(kind, path, value) || isRefused(kind, ...namedField(kind, path, value)));
  if (refused.length === 0) return field.type === "object" && onlyDefaults(kind, field, path) ? "default" : "yes";
  if (refused.length < values.length) return { refused: refused.map(String) };
  return field.default === undefined || isRefused(kind, path, field.default) ? "no" : "default";
}

/** Whether an object can say nothing but what holds anyway. */
function onlyDefaults(kind: WeftKind, schema: StructuralSchema, path: readonly string[]): boolean {
  const inner = Object.keys(schema.properties ?? {}).map((name) => supportOf(kind, [...path, name]));
  return inner.length > 0 && inner.every((support) => support === "no" || support === "default");
}

/** A `type` says which field beside it is meant; refused with that field is refused with its name. */
function namedField(kind: WeftKind, path: readonly string[], value: unknown): [path: readonly string[], value: unknown] {
  const holder = path.slice(0, -1);
  const { properties = {} } = holder.length === 0 ? {} : schemaAt(STRUCTURAL_SCHEMAS[kind], holder);
  const name = Object.keys(properties).find((other) => path.at(-1) === "type" && other.toLowerCase() === String(value).toLowerCase());
  return name === undefined ? [path, value] : [[...holder, name], sample(properties[name]!)];
}

/** An object that says no more than this field, and what must stand beside it. */
export function objectWith(kind: WeftKind, path: readonly string[], value: unknown): KubeObject {
  const name = kind === "MeshIdentity" ? MESH_IDENTITY_NAME : "sample";
  const namespace = kind === "MeshIdentity" ? SYSTEM_NAMESPACE : "default";
  const spec = holding(STRUCTURAL_SCHEMAS[kind].properties!["spec"]!, path.slice(1), value);
  return { apiVersion: WEFT_API_VERSION, kind, metadata: { name, namespace }, spec } as KubeObject;
}

function isRefused(kind: WeftKind, path: readonly string[], value: unknown): boolean {
  const written = path.join(".").replaceAll("[]", "[0]");
  return validate(objectWith(kind, path, value)).some(
    (problem) =>
      problem.code === "WEFT_UNSUPPORTED_FIELD" &&
      (problem.path === "kind" ||
        written === problem.path ||
        written.startsWith(`${problem.path}.`) ||
        written.startsWith(`${problem.path}[`)),
  );
}

function schemaAt(schema: StructuralSchema, path: readonly string[]): StructuralSchema {
  let at = schema;
  for (const step of path) {
    at = at.properties![step.replace("[]", "")]!;
    if (step.endsWith("[]")) at = at.items!;
  }
  return at;
}

/** `value` at `path` below an object of this schema, and samples of all that is required on the way. */
function holding(schema: StructuralSchema, path: readonly string[], value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  const name = step.replace("[]", "");
  const child = schema.properties![name]!;
  const inner = step.endsWith("[]") ? [holding(child.items!, rest, value)] : holding(child, rest, value);
  const beside = (schema.required ?? []).filter((other) => other !== name).map((other) => [other, sampleBeside(schema, other, name)]);
  return { ...Object.fromEntries(beside), [name]: inner };
}

/** A `type` beside the field that it names: `type: URLRewrite` for urlRewrite. */
function sampleBeside(schema: StructuralSchema, other: string, name: string): unknown {
  const property = schema.properties![other]!;
  return property.enum?.find((word) => String(word).toLowerCase() === name.toLowerCase()) ?? sample(property);
}

const TEXTS = ["7s", "2h", "5m", "sample", "/sample", "https://sample/", "spiffe://sample/ns/a/sa/b", "a/b", "GET"];

/** A value that the schema accepts and that is not the default. Throws where none of the texts above will do: add one. */
export function sample(schema: StructuralSchema): unknown {
  const { type, default: standard, minimum = 0, maximum = minimum + 1 } = schema;
  if (schema.enum !== undefined) return schema.enum.find((value) => value !== standard) ?? schema.enum[0];
  if (type === "boolean") return standard !== true;
  if (type === "integer") return standard === maximum ? minimum : maximum;
  if (type === "array") return [sample(schema.items!)];
  if (type === "object") {
    if (schema.additionalProperties !== undefined) return { sample: sample(schema.additionalProperties) };
    return Object.fromEntries((schema.required ?? []).map((name) => [name, sample(schema.properties![name]!)]));
  }
  const pattern = new RegExp(schema.pattern ?? "");
  const text = TEXTS.find((one) => one !== standard && pattern.test(one) && one.length <= (schema.maxLength ?? one.length));
  if (text === undefined) throw new Error(`no sample text for ${schema.pattern}`);
  return text;
}
