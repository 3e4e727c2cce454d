import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from "yaml";
import type { ErrorCode } from "#api/errors.ts";

/** Where something stands in a file, both counted from 1 as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export type Severity = "error" | "warning";

/** Something wrong in a manifest, with the place and what to do about it. */
export interface ManifestProblem extends Position {
  readonly severity: Severity;
  readonly file: string;
  /** "spec.template.spec.containers[0].command"; "" for the document or file as a whole. */
  readonly path: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

/** One YAML document: its value and its place in the file. */
export interface YamlDocument extends Position {
  /** Index among the file's documents, empty ones included. */
  readonly index: number;
  readonly value: unknown;
}

/** Largest manifest file that is read. Beyond it a folder given by mistake (logs, data) would take the memory. */
export const FILE_BYTES_MAX = 4 * 1024 * 1024;
/** Most aliases that one document may resolve: "billion laughs" needs more. */
const ALIASES_MAX = 100;

/** `file:line:col: path: message. remedy`, one line. */
export function formatProblem(p: ManifestProblem): string {
  const where = p.path === "" ? "" : `${p.path}: `;
  return `${p.file}:${p.line}:${p.column}: ${where}${p.code}: ${oneLine(p.message)}. ${oneLine(p.remedy)}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, " ").replace(/\.$/, "");
}

function parse(text: string): { documents: readonly Document.Parsed[]; lines: LineCounter } {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, logLevel: "silent" });
  return { documents: [...parsed] as Document.Parsed[], lines };
}

/** The documents of a file, and what is wrong with it as YAML. With any problem the documents are not to be used. */
export function readYaml(file: string, text: string): { documents: readonly YamlDocument[]; problems: readonly ManifestProblem[] } {
  const problems: ManifestProblem[] = [];
  const bad = (at: Position, message: string): void => {
    const remedy = "correct it at the line shown; until then what the file said last stays in force";
    problems.push({ severity: "error", file, ...at, path: "", code: "WEFT_BAD_YAML", message, remedy });
  };
  if (Buffer.byteLength(text) > FILE_BYTES_MAX) {
    bad({ line: 1, column: 1 }, `the file is larger than ${FILE_BYTES_MAX / 1024 / 1024} MiB`);
    return { documents: [], problems };
  }
  const { documents, lines } = parse(text);
  const values: YamlDocument[] = [];
  for (const [index, document] of documents.entries()) {
    for (const error of [...document.errors, ...document.warnings]) bad(position(lines, error.pos[0]), error.message);
    if (document.errors.length + document.warnings.length > 0 || document.contents === null) continue;
    const at = position(lines, (document.contents as Node).range?.[0] ?? 0);
    try {
      const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
      if (value !== null) values.push({ index, value, ...at });
    } catch (error) {
      bad(at, error instanceof Error ? error.message : String(error));
    }
  }
  return { documents: values, problems };
}

function position(lines: LineCounter, offset: number): Position {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

/** "spec.routes[0].match" and "/spec/routes/0/match" alike, as steps. */
export function pathSteps(path: string): readonly (string | number)[] {
  if (path.startsWith("/")) {
    return path
      .slice(1)
      .split("/")
      .map((s) => (/^\d+$/.test(s) ? Number(s) : s.replaceAll("~1", "/").replaceAll("~0", "~")));
  }
  const steps: (string | number)[] = [];
  for (const m of path.matchAll(/\[(\d+)\]|\[["']([^"'\]]*)["']\]|([^.[\]]+)/g)) {
    steps.push(m[1] !== undefined ? Number(m[1]) : (m[2] ?? m[3] ?? ""));
  }
  return steps;
}

/**
 * Where a path of one document stands: its key, or the nearest thing above it that exists. Parses the text
 * again: problems are rare, and syntax trees of large files are not worth keeping.
 */
export function locator(text: string, index: number): (path: string) => Position {
  const { documents, lines } = parse(text);
  const document = documents[index];
  return (path) => {
    if (document === undefined || document.contents === null) return { line: 1, column: 1 };
    let node: unknown = document.contents;
    let offset = (document.contents as Node).range?.[0] ?? 0;
    for (const step of pathSteps(path)) {
      if (isAlias(node)) node = node.resolve(document);
      if (isMap(node)) {
        const pair = node.items.find((p) => isScalar(p.key) && String(p.key.value) === String(step));
        if (pair === undefined) break;
        offset = (pair.key as Node).range?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        const item = node.items[Number(step)];
        if (item === undefined) break;
        offset = (item as Node).range?.[0] ?? offset;
        node = item;
      } else break;
    }
    return position(lines, offset);
  };
}
