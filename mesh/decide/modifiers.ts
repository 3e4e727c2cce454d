import type { Filter, HeaderModifier } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Fields } from "./fields.ts";
import { lowerAscii, octetsOf } from "./octets.ts";

/** Any number of header modifiers in one: first the names in `drop` go, then `append` is added at the end. */
export interface HeaderEdits {
  /** Lower-case names. */
  readonly drop: ReadonlySet<string>;
  readonly append: readonly string[];
}

/**
 * Names that no policy may touch: message framing and connection (another hop would read our messages
 * otherwise than we do), the authority (it belongs to routing), and HTTP/2's pseudo-fields.
 */
const UNTOUCHABLE = new Set([
  "connection",
  "content-length",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** May a policy set, add or remove this field? */
export function isEditableName(name: string): boolean {
  const folded = lowerAscii(name).replaceAll("_", "-");
  return TOKEN.test(name) && !UNTOUCHABLE.has(folded) && !folded.startsWith("weft-");
}

/**
 * Merges the modifiers of one direction, in the order in which they apply. Within one, `remove` comes
 * before `set` and `add` (as in Envoy). Names that a policy may not touch and values that no field can
 * have are left out: `plan` refuses them, and an operator that does not must not break a message.
 * Null when nothing is left to do.
 */
export function compileModifiers(filters: readonly Filter[], direction: "request" | "response"): HeaderEdits | null {
  const drop = new Set<string>();
  let append: string[] = [];
  for (const { filter } of filters) {
    const wanted = direction === "request" ? "requestHeaderModifier" : "responseHeaderModifier";
    if (filter.case !== wanted) continue;
    const modifier: HeaderModifier = filter.value;
    const gone = new Set<string>();
    for (const name of [...modifier.remove, ...modifier.set.map((header) => header.name)]) {
      if (isEditableName(name)) gone.add(lowerAscii(name));
    }
    for (const name of gone) drop.add(name);
    append = pairs(append).flatMap(([name, value]) => (gone.has(lowerAscii(name)) ? [] : [name, value]));
    for (const { name, value } of [...modifier.set, ...modifier.add]) {
      const octets = octetsOf(value).replace(/^[ \t]+|[ \t]+$/g, "");
      if (isEditableName(name) && !/[\x00-\x08\x0a-\x1f\x7f]/.test(octets)) append.push(name, octets);
    }
  }
  return drop.size === 0 && append.length === 0 ? null : { drop, append };
}

/** `edits` applied to `fields`. The same array when there is nothing to do. */
export function applyFilters(fields: Fields, edits: HeaderEdits | null): Fields {
  if (edits === null) return fields;
  const out: Fields = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (edits.drop.size === 0 || !edits.drop.has(name.toLowerCase())) out.push(name, fields[i + 1] as string);
  }
  for (const item of edits.append) out.push(item);
  return out;
}

/** A flat list of fields as pairs. */
export function pairs(fields: readonly string[]): [string, string][] {
  const out: [string, string][] = [];
  for (let i = 0; i < fields.length; i += 2) out.push([fields[i] as string, fields[i + 1] as string]);
  return out;
}
