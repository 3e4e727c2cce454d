import type { KubeObject } from "#api/resources/kube.ts";
import type { ObjectRef } from "#api/store.ts";
import { validate } from "#mesh/plan/validate.ts";
import type { Report } from "./events.ts";
import type { ManifestFolder } from "./folder.ts";
import { keyOf } from "./keys.ts";
import { isObject } from "./schema.ts";

const TELLING = new Set(["Accepted", "ResolvedRefs"]);

/** Tells the user of each condition that says no, once, with the place in the file that it is about. */
export class StatusWatch {
  private readonly told = new Map<string, { readonly uid: string | undefined; readonly words: string }>();
  private readonly folder: ManifestFolder;
  private readonly lookUp: (ref: ObjectRef) => KubeObject | undefined;
  private readonly report: Report;

  constructor(folder: ManifestFolder, lookUp: (ref: ObjectRef) => KubeObject | undefined, report: Report) {
    this.folder = folder;
    this.lookUp = lookUp;
    this.report = report;
  }

  onStatus(ref: ObjectRef, status: unknown): void {
    const object = this.lookUp(ref);
    if (object === undefined) return;
    for (const { type, status: value, reason, message } of conditionsIn(status)) {
      if (!TELLING.has(type)) continue;
      const key = `${keyOf(ref.kind, ref.namespace, ref.name)}|${type}`;
      const words = value === "False" ? `${reason}: ${message}` : "";
      // An object that was deleted and written anew is told of again.
      const before = this.told.get(key);
      const known = before?.uid === object.metadata.uid ? before?.words : "";
      if (known === words) continue;
      this.told.set(key, { uid: object.metadata.uid, words });
      // What is wrong with the object by itself was told when its file was read.
      if (words === "" || (type === "Accepted" && validate(object).length > 0)) continue;
      const path = /(?:^|[\s`"'(])(spec(?:\.[A-Za-z0-9_]+|\[\d+\])+)/.exec(message)?.[1] ?? "";
      const at = this.folder.locate(ref.kind, ref.namespace, ref.name, path) ?? {
        file: `${ref.kind} ${ref.namespace}/${ref.name}`,
        line: 1,
        column: 1,
      };
      const remedy = `see \`weft get ${ref.kind.toLowerCase()} ${ref.name} -n ${ref.namespace} -o yaml\``;
      const text = `${ref.kind} ${ref.namespace}/${ref.name}: ${type}=False, ${words}`;
      this.report({
        type: "problem",
        problem: { severity: "warning", ...at, path, code: CODES[reason] ?? "WEFT_INVALID_FIELD", message: text, remedy },
      });
    }
  }
}

const CODES: Readonly<
  Record<string, "WEFT_CONFLICTED" | "WEFT_TARGET_NOT_FOUND" | "WEFT_EMPTY_SUBSET" | "WEFT_BACKEND_NOT_FOUND" | "WEFT_UNSUPPORTED_FIELD">
> = {
  Conflicted: "WEFT_CONFLICTED",
  TargetNotFound: "WEFT_TARGET_NOT_FOUND",
  EmptySubset: "WEFT_EMPTY_SUBSET",
  BackendNotFound: "WEFT_BACKEND_NOT_FOUND",
  UnsupportedField: "WEFT_UNSUPPORTED_FIELD",
};

export interface SeenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** The conditions of a status, at the top and under `ancestors` and `parents` (GEP-713). */
export function conditionsIn(status: unknown): SeenCondition[] {
  if (!isObject(status)) return [];
  const lists = [status, ...["ancestors", "parents"].flatMap((f) => (Array.isArray(status[f]) ? (status[f] as unknown[]) : []))];
  return lists.flatMap((holder) => {
    const conditions = isObject(holder) ? holder["conditions"] : undefined;
    if (!Array.isArray(conditions)) return [];
    return conditions.filter(isObject).map((c) => ({
      type: String(c["type"]),
      status: String(c["status"]),
      reason: String(c["reason"] ?? ""),
      message: String(c["message"] ?? ""),
    }));
  });
}
