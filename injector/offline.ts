import { type Document, isMap, isSeq, parseAllDocuments } from "yaml";
import { INJECT_LABEL } from "#api/sidecar.ts";
import type { Problem } from "#mesh/plan/problem.ts";
import { decide } from "./decide.ts";
import type { Operation } from "./json-patch.ts";
import { patchFor } from "./patch.ts";
import { list, record, text, type Json } from "./pod.ts";
import type { InjectionSettings } from "./settings.ts";

/** What became of one object of a YAML stream. */
export interface Result {
  /** "deployment/frontend". */
  readonly object: string;
  readonly outcome: "injected" | "unchanged" | "skipped" | "refused" | "other";
  /** Why it was skipped. */
  readonly reason: string;
  /** Paths are those of the object. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

export interface Offline {
  /** The stream with sidecars; what is not injected stands as it was, comments included. */
  readonly yaml: string;
  readonly results: readonly Result[];
}

/** Where the pod stands in an object that makes pods. */
const TEMPLATE = ["spec", "template"] as const;
const TEMPLATES: Readonly<Record<string, readonly string[]>> = {
  "v1/Pod": [],
  "v1/ReplicationController": TEMPLATE,
  "apps/v1/Deployment": TEMPLATE,
  "apps/v1/StatefulSet": TEMPLATE,
  "apps/v1/DaemonSet": TEMPLATE,
  "apps/v1/ReplicaSet": TEMPLATE,
  "batch/v1/Job": TEMPLATE,
  "batch/v1/CronJob": ["spec", "jobTemplate", "spec", "template"],
};

/**
 * The webhook's patch, applied to manifests. That somebody runs it says that the pods are wanted in the mesh: only a
 * pod, or a Namespace in the same stream, that says `weft.dev/inject: disabled` is left out. Returns a text when the
 * stream is no YAML.
 */
export function injectOffline(source: string, settings: InjectionSettings): Offline | { readonly problem: string } {
  const documents = parseAllDocuments(source);
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) return { problem: error.message };
  }
  const namespaces = namespaceLabels(documents.map((document) => record(document.toJS())));
  const results: Result[] = [];
  for (const document of documents) {
    const object = record(document.toJS());
    const items = object["kind"] === "List" ? list(object["items"]) : null;
    if (items === null) results.push(...injectOne(document, object, [], namespaces, settings));
    else for (const [i, item] of items.entries()) results.push(...injectOne(document, record(item), ["items", i], namespaces, settings));
  }
  const changed = results.some(({ outcome }) => outcome === "injected");
  return { yaml: changed ? documents.map(print).join("") : source, results };
}

function injectOne(
  document: Document,
  object: Json,
  at: readonly (string | number)[],
  namespaces: ReadonlyMap<string, string>,
  settings: InjectionSettings,
): Result[] {
  const kind = text(object["kind"]);
  if (kind === "") return [];
  const metadata = record(object["metadata"]);
  const result = (outcome: Result["outcome"], more: Partial<Result> = {}): Result[] => [
    { object: `${kind.toLowerCase()}/${text(metadata["name"])}`, outcome, reason: "", problems: [], warnings: [], ...more },
  ];
  const template = `${text(object["apiVersion"])}/${kind}`;
  const path = Object.hasOwn(TEMPLATES, template) ? TEMPLATES[template] : undefined;
  if (path === undefined) return result("other");
  const pod = path.reduce((value: Json, step) => record(value[step]), object);
  const namespace = text(metadata["namespace"]) || "default";
  const namespaceLabel = namespaces.get(namespace) ?? "enabled";
  const decision = decide({
    pod,
    namespace,
    namespaceLabels: { [INJECT_LABEL]: namespaceLabel },
    systemNamespace: settings.systemNamespace,
  });
  if (decision.action === "skip") return result("skipped", { reason: decision.reason, warnings: decision.warnings });
  if (decision.action === "refuse") {
    const prefix = path.length === 0 ? "" : `${path.join(".")}.`;
    return result("refused", { problems: decision.problems.map((problem) => ({ ...problem, path: prefix + problem.path })) });
  }
  const patch = patchFor(pod, settings);
  for (const operation of patch) apply(document, [...at, ...path], operation);
  return result(patch.length === 0 ? "unchanged" : "injected", { warnings: decision.warnings });
}

/** Only what a Namespace of the stream says itself; an unlabelled one does not keep its pods out. */
function namespaceLabels(objects: readonly Json[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { kind, metadata } of objects) {
    const label = text(record(record(metadata)["labels"])[INJECT_LABEL]);
    if (kind === "Namespace" && label !== "") found.set(text(record(metadata)["name"]), label);
  }
  return found;
}

/** One operation on the document itself, so that comments and order stay. */
function apply(document: Document, base: readonly (string | number)[], operation: Operation): void {
  const { parent, last } = locate(document, base, operation.path);
  if (operation.op === "move") {
    const from = locate(document, base, operation.from);
    const [node] = (from.parent as { items: unknown[] }).items.splice(Number(from.last), 1);
    (parent as { items: unknown[] }).items.splice(Number(last), 0, node);
  } else if (operation.op === "remove") {
    if (isSeq(parent)) parent.items.splice(Number(last), 1);
    else if (isMap(parent)) parent.delete(last);
  } else {
    const node = document.createNode(operation.value, { aliasDuplicateObjects: false });
    if (!isSeq(parent)) (parent as { set(key: string, value: unknown): void }).set(last, node);
    else parent.items.splice(Number(last), operation.op === "add" ? 0 : 1, node);
    // New blocks do not fit into a list or map that is written on one line.
    if (isMap(parent) || isSeq(parent)) unfold(document, base);
  }
}

function locate(document: Document, base: readonly (string | number)[], pointer: string): { parent: unknown; last: string } {
  const steps = [
    ...base,
    ...pointer
      .slice(1)
      .split("/")
      .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~")),
  ];
  const last = String(steps.pop());
  const parent = steps.length === 0 ? document.contents : document.getIn(steps, true);
  return { parent, last };
}

/** A pod in flow style ({a: b}), and what it stands in, becomes one of blocks as far as the added parts reach. */
function unfold(document: Document, base: readonly (string | number)[]): void {
  const ancestors = base.map((_, i) => base.slice(0, i));
  for (const path of [
    ...ancestors,
    base,
    ...[["spec"], ["spec", "initContainers"], ["spec", "volumes"]].map((below) => [...base, ...below]),
  ]) {
    const node = document.getIn(path, true);
    if (isMap(node) || isSeq(node)) node.flow = false;
  }
}

/** All but the first bring their `---` along, being read from behind one. */
function print(document: Document): string {
  return document.toString({ lineWidth: 0 });
}
