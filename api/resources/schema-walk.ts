import { AccessPolicySchema } from "./access-policy.ts";
import type { KubeObject } from "./kube.ts";
import { MeshIdentitySchema } from "./mesh-identity.ts";
import { type StructuralSchema, structural } from "./structural.ts";
import { TrafficPolicySchema } from "./traffic-policy.ts";

/** One place of an object that its kind does not allow. */
export interface SchemaProblem {
  /** "spec.routes[0].matches[1].path.value"; keys of maps in brackets: "spec.selector.matchLabels[app]". */
  readonly path: string;
  readonly code: "WEFT_INVALID_FIELD" | "WEFT_UNKNOWN_FIELD";
  readonly message: string;
  readonly remedy: string;
}

export const WEFT_KINDS = ["TrafficPolicy", "MeshIdentity", "AccessPolicy"] as const;
export type WeftKind = (typeof WEFT_KINDS)[number];

/** The kinds as the API server sees them, CEL rules included. Only `metadata` is not described: it is the API server's. */
export const STRUCTURAL_SCHEMAS: Readonly<Record<WeftKind, StructuralSchema>> = {
  TrafficPolicy: structural(TrafficPolicySchema),
  MeshIdentity: structural(MeshIdentitySchema),
  AccessPolicy: structural(AccessPolicySchema),
};

/** Beyond this many problems further ones help nobody. */
const PROBLEMS_MAX = 100;

/**
 * Everything about an object of one of Weft's kinds that one field alone shows to be wrong: type, enum, pattern,
 * bounds, missing and unknown fields, doubles in keyed lists. What takes two fields to see (the CEL rules) is for the
 * caller. In document order; empty when the schema accepts. Never throws, whatever the object holds.
 */
export function checkSchema(kind: WeftKind, object: KubeObject): readonly SchemaProblem[] {
  return walkSchema(STRUCTURAL_SCHEMAS[kind], object);
}

/**
 * `checkSchema` for any structural schema. Unknown fields are refused as the API server does under
 * fieldValidation=Strict. Stricter in one thing: null is refused, where the API server removes the field before it
 * looks. In a file it is a value that somebody forgot, and no reader of ours need expect it.
 */
export function walkSchema(schema: StructuralSchema, value: unknown): readonly SchemaProblem[] {
  const walk = new Walk();
  walk.node(schema, value, "");
  return walk.problems;
}

const patterns = new Map<string, RegExp>();

function compiled(pattern: string): RegExp {
  let expression = patterns.get(pattern);
  if (expression === undefined) patterns.set(pattern, (expression = new RegExp(pattern, "u")));
  return expression;
}

class Walk {
  readonly problems: SchemaProblem[] = [];

  node(schema: StructuralSchema, value: unknown, path: string): void {
    if (this.problems.length >= PROBLEMS_MAX) return;
    if (!hasType(schema.type, value)) {
      this.#invalid(
        path,
        `must be ${ARTICLE[schema.type]}, not ${describe(value)}`,
        value === null ? "give it a value or remove the field" : `write ${ARTICLE[schema.type]}`,
      );
      return;
    }
    if (schema.enum !== undefined && !schema.enum.includes(value as string | number | boolean)) {
      const near = typeof value === "string" ? nearest(value, schema.enum.map(String)) : null;
      this.#invalid(
        path,
        `${describe(value)} is not one of ${schema.enum.map(word).join(", ")}`,
        near === null ? "take one of them" : `did you mean ${word(near)}?`,
      );
      return;
    }
    if (typeof value === "string") this.#text(schema, value, path);
    else if (typeof value === "number") this.#number(schema, value, path);
    else if (Array.isArray(value)) this.#list(schema, value, path);
    else if (typeof value === "object" && value !== null) this.#object(schema, value as Record<string, unknown>, path);
  }

  #text(schema: StructuralSchema, value: string, path: string): void {
    const length = characters(value);
    if (length < (schema.minLength ?? 0)) {
      this.#invalid(
        path,
        length === 0 ? "must not be empty" : `must have at least ${schema.minLength} characters`,
        "give it a value or remove the field",
      );
    } else if (length > (schema.maxLength ?? Infinity)) {
      // The pattern is not tried on more than the schema allows: its time is bounded by maxLength.
      this.#invalid(path, `has ${length} characters, at most ${schema.maxLength} are allowed`, "shorten it");
    } else if (schema.pattern !== undefined && !compiled(schema.pattern).test(value)) {
      this.#invalid(
        path,
        `${describe(value)} does not have the form ${schema.pattern}`,
        schema.description ?? "see the field's description",
      );
    }
  }

  #number(schema: StructuralSchema, value: number, path: string): void {
    if (value < (schema.minimum ?? -Infinity))
      this.#invalid(path, `${value} is below ${schema.minimum}`, `take at least ${schema.minimum}`);
    else if (value > (schema.maximum ?? Infinity))
      this.#invalid(path, `${value} is above ${schema.maximum}`, `take at most ${schema.maximum}`);
  }

  #list(schema: StructuralSchema, value: readonly unknown[], path: string): void {
    if (value.length < (schema.minItems ?? 0)) {
      this.#invalid(path, `has ${value.length} items, at least ${schema.minItems} are needed`, "add one");
    } else if (value.length > (schema.maxItems ?? Infinity)) {
      // Not descended into: the work stays bounded by what the schema allows.
      this.#invalid(path, `has ${value.length} items, at most ${schema.maxItems} are allowed`, "remove some, or split the object");
      return;
    }
    for (const [index, item] of value.entries()) if (schema.items !== undefined) this.node(schema.items, item, `${path}[${index}]`);
    this.#doubles(schema, value, path);
  }

  #doubles(schema: StructuralSchema, value: readonly unknown[], path: string): void {
    const type = schema["x-kubernetes-list-type"];
    if (type !== "set" && type !== "map") return;
    const keys = schema["x-kubernetes-list-map-keys"] ?? [];
    const seen = new Map<string, number>();
    for (const [index, item] of value.entries()) {
      const key = type === "set" ? JSON.stringify(item) : JSON.stringify(keys.map((name) => own(item, name) ?? null));
      const first = seen.get(key);
      if (first === undefined) seen.set(key, index);
      else {
        const what =
          type === "set" ? describe(item) : `the same ${keys.join(" and ")} (${keys.map((name) => describe(own(item, name))).join(", ")})`;
        this.#invalid(`${path}[${index}]`, `${what} stands in [${first}] already`, "remove one of the two or merge them");
      }
    }
  }

  #object(schema: StructuralSchema, value: Readonly<Record<string, unknown>>, path: string): void {
    const properties = schema.properties;
    const names = Object.keys(value);
    if (names.length < (schema.minProperties ?? 0)) this.#invalid(path, "must not be empty", `give at least ${schema.minProperties} entry`);
    if (names.length > (schema.maxProperties ?? Infinity)) {
      this.#invalid(path, `has ${names.length} entries, at most ${schema.maxProperties} are allowed`, "remove some");
      return;
    }
    for (const name of schema.required ?? []) {
      if (!Object.hasOwn(value, name))
        this.#invalid(join(path, name), "is missing", `add ${name}: ${properties?.[name]?.description ?? "it is required"}`);
    }
    for (const name of names) {
      if (properties !== undefined && Object.hasOwn(properties, name)) this.node(properties[name]!, value[name], join(path, name));
      else if (schema.additionalProperties !== undefined) this.node(schema.additionalProperties, value[name], `${path}[${name}]`);
      else if (properties !== undefined) this.#unknown(join(path, name), name, Object.keys(properties));
    }
  }

  #unknown(path: string, name: string, known: readonly string[]): void {
    const near = nearest(name, known);
    this.#add({
      path,
      code: "WEFT_UNKNOWN_FIELD",
      message:
        near === null ? `there is no such field; known here are ${known.join(", ")}` : `there is no such field; the nearest is ${near}`,
      remedy: near === null ? "remove it" : `did you mean ${near}?`,
    });
  }

  #invalid(path: string, message: string, remedy: string): void {
    this.#add({ path, code: "WEFT_INVALID_FIELD", message, remedy });
  }

  #add(problem: SchemaProblem): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem);
  }
}

const ARTICLE = { object: "a mapping", array: "a list", string: "a text", integer: "a whole number", boolean: "true or false" } as const;

function hasType(type: StructuralSchema["type"], value: unknown): boolean {
  switch (type) {
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/** A value as a message shows it: short, and never the inside of a list or mapping. */
function describe(value: unknown): string {
  if (value === null) return "empty (null)";
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "string") return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
  return String(value);
}

/** A word of an enum; the empty one in quotes, or nobody would see it. */
function word(value: string | number | boolean): string {
  return value === "" ? '""' : String(value);
}

function own(item: unknown, name: string): unknown {
  return typeof item === "object" && item !== null && Object.hasOwn(item, name) ? (item as Record<string, unknown>)[name] : undefined;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

/** Unicode code points, as the API server counts. */
function characters(text: string): number {
  let count = text.length;
  for (let i = 0; i + 1 < text.length; i++) {
    const high = text.charCodeAt(i);
    const low = text.charCodeAt(i + 1);
    if (high >= 0xd800 && high <= 0xdbff && low >= 0xdc00 && low <= 0xdfff) {
      count--;
      i++;
    }
  }
  return count;
}

/**
 * The known name that a misspelt one most likely meant: fewest edits, at most a third of the longer one's letters;
 * case counts as no edit. Null when none is near. Of two as near, the first listed.
 */
export function nearest(name: string, known: readonly string[]): string | null {
  if (name.length > 64) return null;
  let best: string | null = null;
  let least = Infinity;
  for (const candidate of known) {
    const distance = edits(name.toLowerCase(), candidate.toLowerCase());
    if (distance >= least || distance > Math.max(name.length, candidate.length, 3) / 3) continue;
    [best, least] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}
