import fs from "node:fs";
import path from "node:path";
import type { KubeObject } from "#api/resources/kube.ts";
import { byteOrder } from "./keys.ts";
import { crossCheck, crossHints, type ManifestFile, readManifestFile } from "./manifests.ts";
import type { ManifestProblem } from "./yaml-file.ts";
import { FILE_BYTES_MAX, locator } from "./yaml-file.ts";

/** What a look at the folder found. */
export interface FolderLook {
  /** Files that changed and were taken. */
  readonly applied: readonly string[];
  /** Files that changed and are broken: what they said before stays in force. */
  readonly kept: readonly string[];
  readonly problems: readonly ManifestProblem[];
  readonly objects: readonly KubeObject[];
  /** Some file lost all it said: look again before believing it. See `look`. */
  readonly vanished: boolean;
}

/**
 * The *.yaml and *.yml files of one folder, sub-folders not included. Remembers the last good content of each,
 * so that a broken file changes nothing.
 */
export class ManifestFolder {
  private readonly folder: string;
  /** What is in force. */
  private good = new Map<string, ManifestFile>();
  /** The last content of each file that was good by itself, in force or not: a file may wait for another's correction. */
  private candidates = new Map<string, ManifestFile>();
  /** The text last read of each file, good or not: the same text is not read twice. */
  private readonly seen = new Map<string, string>();

  /** `folder` as the user wrote it: problems show paths that begin with it. */
  constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * Reads what changed. A file that is empty or gone though it said something before may be an editor between
   * truncating and writing: unless `confirmed`, such a file is left as it was and `vanished` is true.
   */
  look(confirmed: boolean): FolderLook {
    const texts = this.readAll();
    const fresh = new Map<string, ManifestFile>();
    let vanished = false;
    const problems: ManifestProblem[] = [];
    const kept: string[] = [];
    const changed: string[] = [];
    for (const [file, read] of texts) {
      const before = this.candidates.get(file);
      const text = typeof read === "string" ? read : `unreadable: ${read.message}`;
      if (this.seen.get(file) === text) {
        if (before !== undefined) fresh.set(file, before);
        continue;
      }
      if (!confirmed && text.trim() === "" && (before?.manifests.length ?? 0) > 0) {
        vanished = true;
        fresh.set(file, before!);
        continue;
      }
      this.seen.set(file, text);
      const parsed = typeof read === "string" ? readManifestFile(file, read) : unreadable(file, read.message);
      problems.push(...parsed.problems);
      if (!parsed.broken) {
        fresh.set(file, parsed);
        changed.push(file);
      } else {
        kept.push(file);
        if (before !== undefined) fresh.set(file, before);
      }
    }
    for (const [file, before] of this.candidates) {
      if (texts.has(file)) continue;
      if (!confirmed && before.manifests.length > 0) {
        vanished = true;
        fresh.set(file, before);
      } else {
        this.seen.delete(file);
        changed.push(file);
      }
    }
    return this.judge(fresh, changed, kept, problems, vanished);
  }

  /** Where an object stands, or a field of it. Null: it is of no file. */
  locate(
    kind: string,
    namespace: string,
    name: string,
    fieldPath: string,
  ): { readonly file: string; readonly line: number; readonly column: number } | null {
    for (const { manifests, file, text } of this.good.values()) {
      for (const m of manifests) {
        const { metadata } = m.object;
        if (m.object.kind !== kind || (metadata.namespace ?? "") !== namespace || metadata.name !== name) continue;
        return { file, ...(fieldPath === "" ? { line: m.line, column: m.column } : locator(text, m.index)(fieldPath)) };
      }
    }
    return null;
  }

  /** Takes the new files, unless together with the others they contradict themselves. */
  private judge(
    fresh: Map<string, ManifestFile>,
    changed: string[],
    kept: string[],
    problems: ManifestProblem[],
    vanished: boolean,
  ): FolderLook {
    const ordered = (files: ReadonlyMap<string, ManifestFile>): ManifestFile[] =>
      [...files.values()].sort((a, b) => byteOrder(a.file, b.file));
    const isFolder = (relative: string): boolean =>
      fs.statSync(path.resolve(this.folder, relative), { throwIfNoEntry: false })?.isDirectory() ?? false;
    this.candidates = fresh;
    if (changed.length === 0) return { applied: [], kept, problems, objects: this.objects(), vanished };
    let accepted = fresh;
    const contradictions = crossCheck(ordered(fresh), isFolder);
    if (contradictions.length > 0) {
      // Perhaps only a file that changed earlier contradicts: then what changed now still counts.
      accepted = new Map(this.good);
      for (const file of changed) {
        const now = fresh.get(file);
        if (now === undefined) accepted.delete(file);
        else accepted.set(file, now);
      }
      if (crossCheck(ordered(accepted), isFolder).length > 0) {
        return { applied: [], kept: [...kept, ...changed], problems: [...problems, ...contradictions], objects: this.objects(), vanished };
      }
    }
    problems.push(...crossHints(ordered(accepted)).filter((h) => changed.includes(h.file)));
    this.good = accepted;
    return { applied: changed, kept, problems, objects: this.objects(), vanished };
  }

  private objects(): KubeObject[] {
    return [...this.good.values()].sort((a, b) => byteOrder(a.file, b.file)).flatMap((f) => f.manifests.map((m) => m.object));
  }

  /** Every manifest file with its text, or why it cannot be read. Throws when the folder itself cannot be read. */
  private readAll(): Map<string, string | Error> {
    const texts = new Map<string, string | Error>();
    const names = fs.readdirSync(this.folder).filter((n) => /\.ya?ml$/.test(n) && !n.startsWith("."));
    for (const name of names.sort(byteOrder)) {
      const file = path.join(this.folder, name);
      try {
        const { size } = fs.statSync(file);
        texts.set(
          file,
          size > FILE_BYTES_MAX ? new Error(`the file is larger than ${FILE_BYTES_MAX / 1024 / 1024} MiB`) : fs.readFileSync(file, "utf8"),
        );
      } catch (error) {
        // Gone between the two calls: as if it had not been listed.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") texts.set(file, error as Error);
      }
    }
    return texts;
  }
}

function unreadable(file: string, message: string): ManifestFile {
  const problem: ManifestProblem = {
    severity: "error",
    file,
    line: 1,
    column: 1,
    path: "",
    code: "WEFT_BAD_YAML",
    message,
    remedy: "make it a readable YAML file or move it away",
  };
  return { file, text: "", manifests: [], problems: [problem], broken: true };
}
