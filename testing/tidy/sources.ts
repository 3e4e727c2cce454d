import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** Folder of the repository. */
export const ROOT = path.resolve(import.meta.dirname, "../..");

/** What is not committed, by name of a folder at any depth, as .gitignore has it. */
const IGNORED = new Set([".git", "node_modules", "dist", ".weft", "coverage", ".cache"]);

/** Paths of all files that are or would be committed, relative to the root, with "/", sorted. */
export function repositoryFiles(folder = ROOT, prefix = ""): string[] {
  // Spread: jest's tests have an Array of their own, and an array of another is not deeply equal to it.
  return [...readdirSync(folder, { withFileTypes: true })]
    .filter((entry) => !IGNORED.has(entry.name) && !entry.name.endsWith(".log"))
    .flatMap((entry) => {
      const file = `${prefix}${entry.name}`;
      return entry.isDirectory() ? repositoryFiles(path.join(folder, entry.name), `${file}/`) : [file];
    })
    .sort();
}

export function textOf(file: string): string {
  return readFileSync(path.join(ROOT, file), "utf8");
}

/** Tests and what only tests use: they may reach across rooms. */
export function isTestCode(file: string): boolean {
  return /\.test\.ts$|(^|\/)testdata\/|^testing\/|(^|\/)test-[^/]*\.ts$/.test(file);
}

/** Line of an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}

export interface Blanked {
  /** The source with comments blanked: every other character stays at its offset. */
  readonly code: string;
  /** The same with the contents of strings, templates and regular expressions blanked too. */
  readonly words: string;
}

/** After these a slash begins a regular expression; after a value it divides. */
const BEFORE_REGEX = /(^|[(,=:[!&|?{};+\-*%<>~^]|\b(return|typeof|case|in|of|do|else|void|await|yield|=>))\s*$/;

/** Blanks what is no code. A scanner for JavaScript's strings, templates, comments and regular expressions, not a parser. */
export function blank(source: string): Blanked {
  const code = [...source.split("")];
  const words = [...code];
  const hide = (list: string[], from: number, to: number): void => {
    for (let i = from; i < to; i++) if (list[i] !== "\n") list[i] = " ";
  };
  // Depths of braces at which a template's `${` was opened.
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  /** From after the opening mark to the closing one; a template may stop at `${`. */
  const literal = (mark: string): void => {
    const from = at;
    let inClass = false;
    while (at < source.length) {
      const c = source[at];
      if (c === "\\") at++;
      else if (mark === "`" && c === "$" && source[at + 1] === "{") {
        hide(words, from, at);
        templates.push(depth++);
        at += 2;
        return;
      } else if (mark === "/" && c === "[") inClass = true;
      else if (mark === "/" && c === "]") inClass = false;
      else if ((c === mark && !inClass) || (c === "\n" && mark !== "`")) break;
      at++;
    }
    hide(words, from, Math.min(at, source.length));
    at++;
  };
  while (at < source.length) {
    const c = source[at]!;
    const pair = source.slice(at, at + 2);
    if (pair === "//" || pair === "/*") {
      const close = pair === "//" ? source.indexOf("\n", at) : source.indexOf("*/", at + 2) + 2;
      const end = close < at + 2 ? source.length : close;
      hide(code, at, end);
      hide(words, at, end);
      at = end;
      continue;
    }
    const opensRegex = c === "/" && BEFORE_REGEX.test(words.slice(Math.max(0, at - 40), at).join(""));
    at++;
    if (c === '"' || c === "'" || c === "`" || opensRegex) literal(c);
    else if (c === "{") depth++;
    else if (c === "}") {
      depth--;
      if (templates.at(-1) === depth) {
        templates.pop();
        literal("`");
      }
    }
  }
  return { code: code.join(""), words: words.join("") };
}
