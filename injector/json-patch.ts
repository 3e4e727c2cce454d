/**
 * Differences as JSON Patch (RFC 6902). Lists whose elements have names (containers, volumes, variables) are compared by
 * name, so that an added container is one `add` and not a new list; other lists are replaced whole.
 */
export type Operation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string }
  | { readonly op: "move"; readonly from: string; readonly path: string };

/** Operations that turn `from` into `to`, in order; none when they are equal. Recurses as deep as the values are. */
export function difference(from: unknown, to: unknown): Operation[] {
  const operations: Operation[] = [];
  compare(from, to, "", operations);
  return operations;
}

function compare(from: unknown, to: unknown, path: string, out: Operation[]): void {
  if (from === to) return;
  if (isObject(from) && isObject(to)) compareObjects(from, to, path, out);
  else if (Array.isArray(from) && Array.isArray(to)) compareLists(from, to, path, out);
  else out.push({ op: "replace", path, value: to });
}

function compareObjects(from: Record<string, unknown>, to: Record<string, unknown>, path: string, out: Operation[]): void {
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) out.push({ op: "remove", path: at(path, key) });
  for (const [key, value] of Object.entries(to)) {
    if (!Object.hasOwn(from, key)) out.push({ op: "add", path: at(path, key), value });
    else compare(from[key], value, at(path, key), out);
  }
}

function compareLists(from: readonly unknown[], to: readonly unknown[], path: string, out: Operation[]): void {
  const before = names(from);
  const after = names(to);
  if (before === null || after === null) {
    if (!same(from, to)) out.push({ op: "replace", path, value: to });
    return;
  }
  const wanted = new Set(after);
  const working = from.map((value, i) => ({ name: before[i]!, value }));
  for (let i = working.length - 1; i >= 0; i--) {
    if (wanted.has(working[i]!.name)) continue;
    working.splice(i, 1);
    out.push({ op: "remove", path: at(path, i) });
  }
  const left = new Set(working.map(({ name }) => name));
  for (const [i, value] of to.entries()) {
    const name = after[i]!;
    if (!left.has(name)) {
      working.splice(i, 0, { name, value });
      out.push({ op: "add", path: at(path, i), value });
      continue;
    }
    const j = working[i]?.name === name ? i : working.findIndex((one) => one.name === name);
    if (j !== i) {
      working.splice(i, 0, ...working.splice(j, 1));
      out.push({ op: "move", from: at(path, j), path: at(path, i) });
    }
    compare(working[i]!.value, value, at(path, i), out);
  }
}

/** Names of all elements; null unless each has one of its own. */
function names(items: readonly unknown[]): string[] | null {
  const found = items.map((item) => (isObject(item) && typeof item["name"] === "string" ? item["name"] : null));
  return found.includes(null) || new Set(found).size < found.length ? null : (found as string[]);
}

function same(a: unknown, b: unknown): boolean {
  const found: Operation[] = [];
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => same(item, b[i]));
  compare(a, b, "", found);
  return found.length === 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** RFC 6901. */
function at(path: string, step: string | number): string {
  return `${path}/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}
