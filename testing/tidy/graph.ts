import path from "node:path";
import { blank } from "./sources.ts";

/** Who imports whom. A node is a path in the repository, `node:x`, or the name of a package. */
export type Graph = ReadonlyMap<string, readonly string[]>;

/** What an import statement of `file` names: "#room/x.ts" and "./x.ts" are paths in the repository. */
export function resolveImport(file: string, specifier: string): string {
  if (specifier.startsWith("#")) return specifier.slice(1);
  if (specifier.startsWith(".")) return path.posix.join(path.posix.dirname(file), specifier);
  if (specifier.startsWith("node:")) return specifier.split("/")[0]!;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** All that the source imports, re-exports, imports lazily or names in `import("x").Type`. A type counts as well: it is knowledge. */
export function importsOf(file: string, source: string): string[] {
  const { code, words } = blank(source);
  const found: string[] = [];
  // Found where it is code, then read where strings have not been blanked.
  const statement = /\b(?:import|export)\b(?:[^;'"`()=]*?\bfrom\b|\s*\(|)\s*(?=["'])/g;
  for (const match of words.matchAll(statement)) {
    const specifier = /^["']([^"']+)["']/.exec(code.slice(match.index + match[0].length))?.[1];
    if (specifier !== undefined) found.push(resolveImport(file, specifier));
  }
  return found;
}

export function graphOf(sources: ReadonlyMap<string, string>): Graph {
  return new Map([...sources].map(([file, source]) => [file, importsOf(file, source)]));
}

/** All that `from` reaches, each with the way there: the shortest chain of imports, from `from` to it. */
export function reach(graph: Graph, from: string): Map<string, readonly string[]> {
  const ways = new Map<string, readonly string[]>([[from, [from]]]);
  for (const [node, way] of ways) {
    for (const next of graph.get(node) ?? []) if (!ways.has(next)) ways.set(next, [...way, next]);
  }
  ways.delete(from);
  return ways;
}

export interface Edge {
  /** Files that the row is about. */
  readonly from: RegExp;
  /** What they must not reach, however long the way. */
  readonly to: RegExp;
  /** Exceptions to `to`. */
  readonly except?: RegExp;
  readonly why: string;
}

/** One line for each way that ends in what is forbidden, up to where it first gets there. */
export function violations(graph: Graph, { from, to, except, why }: Edge): string[] {
  const forbidden = (node: string): boolean => to.test(node) && except?.test(node) !== true;
  return [...graph.keys()]
    .filter((file) => from.test(file))
    .flatMap((file) => [...reach(graph, file).values()])
    .filter((way) => forbidden(way.at(-1)!) && !way.slice(1, -1).some(forbidden))
    .map((way) => `${way.join(" → ")}: ${why}`);
}
