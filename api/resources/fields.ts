import Type, { type TSchema } from "typebox";
import { DURATION_LENGTH_MAX, DURATION_PATTERN } from "../duration.ts";

/** The building blocks of the kinds' schemas. Every one is bounded: the API server prices CEL rules by the worst case. */

/** Static types of the schemas are what a user wrote and nobody here may change. */
export type Frozen<T> = T extends readonly (infer Item)[]
  ? readonly Frozen<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Frozen<T[Key]> }
    : T;

/** A rule of the API server (CEL) that one field alone cannot state. `plan` states the same; crds/testdata holds the two equal. */
export interface Rule {
  readonly rule: string;
  /** The user's words: what must hold, not what the expression does. */
  readonly message: string;
  /** Which field below this one is at fault, where that is more exact: ".backendRequest". */
  readonly fieldPath?: string;
}

/** Options that only the API server reads: CEL rules on a node. */
export function rules(...list: readonly Rule[]) {
  return { "x-kubernetes-validations": list.map((rule) => ({ ...rule })) };
}

/** Lists whose items are told apart by these fields: server-side apply merges them and the API server refuses doubles. */
export function keyedBy(...keys: readonly string[]) {
  return { "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [...keys] };
}

export const asSet = { "x-kubernetes-list-type": "set" };
export const asWhole = { "x-kubernetes-list-type": "atomic" };

/** One of a few words. */
export function oneOf<const Values extends readonly string[]>(values: Values, options: { description: string; default?: Values[number] }) {
  return Type.Unsafe<Values[number]>({ type: "string", enum: [...values], ...options });
}

export function duration(description: string, options: { default?: string; rules?: readonly Rule[] } = {}) {
  return Type.String({
    description: `${description} A duration like 1h30m, 5s or 250ms (GEP-2257: units h, m, s, ms; no sign, no fraction).`,
    pattern: DURATION_PATTERN,
    maxLength: DURATION_LENGTH_MAX,
    ...(options.default === undefined ? {} : { default: options.default }),
    ...(options.rules === undefined ? {} : rules(...options.rules)),
  });
}

/** `duration(self)` within bounds, in CEL, with the sentence a user reads. */
export function durationWithin(least: string, most: string): Rule {
  return {
    rule: `duration(self) >= duration('${least}') && duration(self) <= duration('${most}')`,
    message: `must be from ${least} to ${most}`,
  };
}

export function list<Item extends TSchema>(
  item: Item,
  description: string,
  bounds: { minItems?: number; maxItems: number } & Record<string, unknown>,
) {
  return Type.Array(item, { description, ...bounds });
}

/** RFC 1123 label: a namespace, a subset. */
export const LABEL_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/** RFC 1123 subdomain: most object names. */
export const SUBDOMAIN_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/** A token of RFC 9110 section 5.6.2, as Gateway API's HTTPHeaderName. */
export const HEADER_NAME_PATTERN = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$";
/** What may stand in a field value (RFC 9110 section 5.5) except obs-text: visible ASCII, space and tab, neither of them at an end. */
export const HEADER_VALUE_PATTERN = "^[!-~]([\\t -~]*[!-~])?$";
/** pchar and "/" of RFC 3986, percent-escapes whole, as Gateway API's path values. */
export const PATH_PATTERN = "^/([A-Za-z0-9/._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})*$";
const LABEL_VALUE_PATTERN = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

export function label(description: string) {
  return Type.String({ description, minLength: 1, maxLength: 63, pattern: LABEL_PATTERN });
}

export function objectName(description: string) {
  return Type.String({ description, minLength: 1, maxLength: 253, pattern: SUBDOMAIN_PATTERN });
}

export function headerName(description: string) {
  return Type.String({ description, minLength: 1, maxLength: 256, pattern: HEADER_NAME_PATTERN });
}

export function headerValue(description: string) {
  return Type.String({ description, minLength: 1, maxLength: 4096, pattern: HEADER_VALUE_PATTERN });
}

export function port(description: string) {
  return Type.Integer({ description, minimum: 1, maximum: 65535 });
}

function labels(description: string, bounds: { minProperties?: number }) {
  return Type.Unsafe<Record<string, string>>({
    type: "object",
    description,
    maxProperties: 16,
    ...bounds,
    additionalProperties: { type: "string", maxLength: 63, pattern: LABEL_VALUE_PATTERN },
  });
}

/** `selector`: no matchLabels, or none in them, selects every pod of the namespace. */
export function selector(description: string) {
  return Type.Object(
    { matchLabels: Type.Optional(labels("Labels that a pod must all have, with these values. None: every pod of the namespace.", {})) },
    { description },
  );
}

/** A selector that must name at least one label: an empty one would be the whole Service again. */
export function narrowSelector(description: string) {
  return Type.Object({ matchLabels: labels("Labels that a pod must all have, with these values.", { minProperties: 1 }) }, { description });
}
