import { celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { Ajv, type AnySchemaObject, type ErrorObject, type ValidateFunction } from "ajv";
import type { StructuralSchema } from "#api/resources/structural.ts";

/**
 * What the API server would say of an object, for tests only: defaults, then the structural schema with unknown
 * fields refused (fieldValidation=Strict), then, where that found nothing, the CEL rules. Judged by other people's
 * code (ajv, a CEL library), so that ours has something to be compared with. Metadata is not judged, and null is
 * refused where the real one removes it.
 */
export interface Refusal {
  readonly path: string;
  readonly message: string;
  /** The CEL expression that was false; absent where the schema refused. */
  readonly rule?: string;
}

type Json = Readonly<Record<string, unknown>>;
type CelValue = Parameters<ReturnType<typeof plan>>[0] extends Record<string, infer V> | undefined ? V : never;

export class ApiServer {
  readonly #schema: StructuralSchema;
  readonly #validate: ValidateFunction;

  constructor(schema: StructuralSchema) {
    this.#schema = schema;
    const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false, allowUnionTypes: false });
    // Only the operator writes timestamps, and only into status.
    ajv.addFormat("date-time", true);
    ajv.addVocabulary(["x-kubernetes-validations", "x-kubernetes-list-map-keys"]);
    ajv.addKeyword({
      keyword: "x-kubernetes-list-type",
      type: "array",
      validate: (type: string, items: readonly unknown[], list?: AnySchemaObject) =>
        !hasDoubles(type, items, (list as StructuralSchema | undefined)?.["x-kubernetes-list-map-keys"] ?? []),
    });
    this.#validate = ajv.compile(strict(schema));
  }

  /** Refusals of a create, or of an update where `old` is what was stored. */
  judge(object: unknown, old?: unknown): readonly Refusal[] {
    const bySchema = this.judgeSchema(object);
    if (bySchema.length > 0) return bySchema;
    const refusals: Refusal[] = [];
    const before = old === undefined ? undefined : withDefaults(this.#schema, old);
    judgeRules(this.#schema, withDefaults(this.#schema, object), before, "", refusals);
    return refusals;
  }

  /** The schema alone. */
  judgeSchema(object: unknown): readonly Refusal[] {
    this.#validate(withDefaults(this.#schema, object));
    return (this.#validate.errors ?? []).map((error) => ({ path: pathOf(error), message: error.message ?? error.keyword }));
  }
}

/** Every rule of a schema, once each. */
export function rulesOf(schema: StructuralSchema): readonly string[] {
  const found = new Set<string>();
  const visit = (node: StructuralSchema): void => {
    for (const { rule } of node["x-kubernetes-validations"] ?? []) found.add(rule);
    for (const child of childrenOf(node)) visit(child);
  };
  visit(schema);
  return [...found];
}

/** The schemas directly below one. */
export function childrenOf(node: StructuralSchema): readonly StructuralSchema[] {
  return [
    ...Object.values(node.properties ?? {}),
    ...(node.items === undefined ? [] : [node.items]),
    ...(node.additionalProperties === undefined ? [] : [node.additionalProperties]),
  ];
}

/** Refuses what `properties` does not list, as Strict does; `metadata` has none listed and stays open. */
function strict(schema: StructuralSchema): object {
  return {
    ...schema,
    ...(schema.items === undefined ? {} : { items: strict(schema.items) }),
    ...(schema.additionalProperties === undefined ? {} : { additionalProperties: strict(schema.additionalProperties) }),
    ...(schema.properties === undefined
      ? {}
      : {
          properties: Object.fromEntries(Object.entries(schema.properties).map(([name, child]) => [name, strict(child)])),
          additionalProperties: false,
        }),
  };
}

function hasDoubles(type: string, items: readonly unknown[], keys: readonly string[]): boolean {
  if (type === "atomic") return false;
  const seen = items.map((item) => JSON.stringify(type === "set" ? item : keys.map((key) => (item as Json | null)?.[key] ?? null)));
  return new Set(seen).size < seen.length;
}

function pathOf({ instancePath, keyword, params }: ErrorObject): string {
  const steps = instancePath
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  if (keyword === "required") steps.push(params["missingProperty"] as string);
  if (keyword === "additionalProperties") steps.push(params["additionalProperty"] as string);
  return steps.reduce(
    (path, step, i) =>
      /^[0-9]+$/.test(step) || steps[i - 1] === "matchLabels" ? `${path}[${step}]` : path === "" ? step : `${path}.${step}`,
    "",
  );
}

/** A copy of a value with the schema's defaults put in, at every depth that is there. */
export function withDefaults(schema: StructuralSchema, value: unknown): unknown {
  if (Array.isArray(value)) return schema.items === undefined ? value : value.map((item) => withDefaults(schema.items!, item));
  if (typeof value !== "object" || value === null || schema.properties === undefined) return value;
  const out: Record<string, unknown> = { ...value };
  for (const [name, child] of Object.entries(schema.properties)) {
    if (out[name] === undefined && child.default !== undefined) out[name] = child.default;
    else if (Object.hasOwn(out, name)) out[name] = withDefaults(child, out[name]);
  }
  return out;
}

const programs = new Map<string, ReturnType<typeof plan>>();

function program(rule: string): ReturnType<typeof plan> {
  let compiled = programs.get(rule);
  if (compiled === undefined) programs.set(rule, (compiled = plan(celEnv(), parse(rule))));
  return compiled;
}

function judgeRules(schema: StructuralSchema, value: unknown, old: unknown, path: string, refusals: Refusal[]): void {
  for (const { rule, message, fieldPath } of schema["x-kubernetes-validations"] ?? []) {
    const isTransition = /\boldSelf\b/.test(rule);
    if (isTransition && old === undefined) continue;
    const bindings: Record<string, CelValue> = { self: toCel(schema, value) as CelValue };
    if (isTransition) bindings["oldSelf"] = toCel(schema, old) as CelValue;
    const result = program(rule)(bindings);
    if (isCelError(result)) throw new Error(`${path}: ${rule}: ${result.message}`);
    if (result !== true) refusals.push({ path: `${path}${fieldPath ?? ""}`.replace(/^\./, ""), message, rule });
  }
  if (Array.isArray(value)) {
    // Items of atomic lists have no old selves; no transition rule of ours stands below a list.
    for (const [index, item] of value.entries()) judgeRules(schema.items!, item, undefined, `${path}[${index}]`, refusals);
  } else if (typeof value === "object" && value !== null) {
    for (const [name, child] of Object.entries(schema.properties ?? {})) {
      if (!Object.hasOwn(value, name)) continue;
      judgeRules(child, (value as Json)[name], (old as Json | undefined)?.[name], path === "" ? name : `${path}.${name}`, refusals);
    }
  }
}

/** CEL's reserved words, which Kubernetes has rules write as `__word__`. */
const RESERVED = new Set(
  "as break const continue else false for function if import in let loop namespace null package return true var void while".split(" "),
);

/** A JSON value as CEL sees it by its schema: whole numbers are ints, field names that CEL reserves are escaped, a map's keys are not. */
function toCel(schema: StructuralSchema | undefined, value: unknown): unknown {
  if (typeof value === "number") return BigInt(value);
  if (Array.isArray(value)) return value.map((item) => toCel(schema?.items, item));
  if (typeof value !== "object" || value === null) return value;
  const isMap = schema?.additionalProperties !== undefined;
  return new Map(
    Object.entries(value).map(([name, child]) => [
      !isMap && RESERVED.has(name) ? `__${name}__` : name,
      toCel(schema?.properties?.[name] ?? schema?.additionalProperties, child),
    ]),
  );
}
