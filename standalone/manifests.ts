import type { ErrorCode } from "#api/errors.ts";
import {
  type Container,
  type Deployment,
  type KubeObject,
  type Pod,
  type PodSpec,
  RUN_IN_ANNOTATION,
  type Service,
  UPSTREAMS_ANNOTATION,
} from "#api/resources/kube.ts";
import { validate } from "#mesh/plan/validate.ts";
import { classify } from "./kinds.ts";
import { objectKey } from "./keys.ts";
import { reachablePort } from "./ports.ts";
import { checkShape, type FieldProblem, isObject, SHAPES } from "./schema.ts";
import { locator, type ManifestProblem, type Position, readYaml, type Severity } from "./yaml-file.ts";

/** One object of a file, and where it starts. */
export interface Manifest extends Position {
  readonly object: KubeObject;
  readonly file: string;
  /** Index of the document in its file, for `locate`. */
  readonly index: number;
}

/** What one file says. With `broken`, the runner keeps what the file said last. */
export interface ManifestFile {
  readonly file: string;
  readonly text: string;
  readonly manifests: readonly Manifest[];
  readonly problems: readonly ManifestProblem[];
  readonly broken: boolean;
}

/** Lower-case labels joined by dots, at most 253 bytes (RFC 1123 subdomain). */
const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/**
 * Reads one file. A problem in a weft.dev object does not make the file broken: the operator gets the object
 * and its status says Accepted=False, as it would in a cluster.
 */
export function readManifestFile(file: string, text: string): ManifestFile {
  const { documents, problems: yamlProblems } = readYaml(file, text);
  if (yamlProblems.length > 0) return { file, text, manifests: [], problems: yamlProblems, broken: true };
  const manifests: Manifest[] = [];
  const problems: ManifestProblem[] = [];
  let broken = false;
  for (const { index, value, line, column } of documents) {
    const locate = lazy(() => locator(text, index));
    const report = (severity: Severity, found: readonly FieldProblem[]): void => {
      for (const p of found) problems.push({ severity, file, ...(p.path === "" ? { line, column } : locate()(p.path)), ...p });
    };
    const head = checkHead(value);
    if (head.length > 0) {
      report("error", head);
      broken = true;
      continue;
    }
    const object = value as unknown as KubeObject;
    const kind = classify(object.apiVersion, object.kind);
    if (kind.treat === "ignore") {
      report("warning", [
        bad("", `${object.kind} ${object.metadata.name} is ignored in standalone mode`, "nothing to do; it matters in a cluster only"),
      ]);
      continue;
    }
    if (kind.treat === "refuse") {
      report("error", [bad(kind.path, kind.message, kind.remedy)]);
      broken = true;
      continue;
    }
    const complete = withNamespace(object, kind.namespaced);
    const shape = kind.treat === "weft" ? undefined : SHAPES[object.kind];
    const found = shape === undefined ? [] : checkShape(value, shape);
    const wrong = found.length > 0 || shape === undefined ? found : checkMeaning(complete);
    report("error", wrong);
    broken ||= wrong.length > 0;
    report("warning", wrong.length > 0 ? [] : checkUnused(complete));
    if (kind.treat === "weft") report("error", validate(complete) as readonly FieldProblem[]);
    manifests.push({ object: complete, file, index, line, column });
  }
  return { file, text, manifests, problems, broken };
}

/** What can only be seen of all files together. Any of these is an error of the file named. */
export function crossCheck(files: readonly ManifestFile[], isFolder: (relative: string) => boolean): ManifestProblem[] {
  const problems: ManifestProblem[] = [];
  const seen = new Map<string, Manifest>();
  for (const { manifests, file, text } of files) {
    for (const m of manifests) {
      const key = objectKey(m.object);
      const first = seen.get(key);
      const at = (path: string, code: ErrorCode, message: string, remedy: string): void => {
        problems.push({ severity: "error", file, ...(path === "" ? m : locator(text, m.index)(path)), path, code, message, remedy });
      };
      if (first !== undefined) {
        at(
          "metadata.name",
          "WEFT_BAD_MANIFEST",
          `${m.object.kind} ${nameOf(m.object)} is defined twice, first at ${first.file}:${first.line}`,
          "remove one of the two",
        );
      }
      seen.set(key, first ?? m);
      const template = podTemplate(m.object);
      const runIn = template?.annotations?.[RUN_IN_ANNOTATION];
      if (template !== null && runIn !== undefined && !isFolder(runIn)) {
        at(
          `${template.path}metadata.annotations["${RUN_IN_ANNOTATION}"]`,
          "WEFT_BAD_MANIFEST",
          `there is no folder ${JSON.stringify(runIn)}`,
          "name a folder relative to the one that is run",
        );
      }
    }
  }
  return problems;
}

/** Hints about pairs of objects: the run goes on. */
export function crossHints(files: readonly ManifestFile[]): ManifestProblem[] {
  const all = files.flatMap((f) => f.manifests.map((m) => ({ m, f })));
  const has = (kind: string, namespace: string, name: string): boolean =>
    all.some(({ m }) => m.object.kind === kind && m.object.metadata.namespace === namespace && m.object.metadata.name === name);
  const problems: ManifestProblem[] = [];
  for (const { m, f } of all) {
    const template = podTemplate(m.object);
    if (m.object.kind === "Service") problems.push(...fetchRefuses(m, f));
    if (template === null) continue;
    const namespace = m.object.metadata.namespace ?? "default";
    const warn = (path: string, message: string, remedy: string): void => {
      problems.push({
        severity: "warning",
        file: f.file,
        ...locator(f.text, m.index)(path),
        path,
        code: "WEFT_BAD_MANIFEST",
        message,
        remedy,
      });
    };
    const account = template.spec.serviceAccountName ?? "default";
    if (account !== "default" && !has("ServiceAccount", namespace, account)) {
      warn(
        `${template.path}spec.serviceAccountName`,
        `ServiceAccount ${namespace}/${account} is in no manifest`,
        "add one: a cluster would refuse the pod",
      );
    }
    for (const name of upstreamNames(template.annotations) ?? []) {
      if (!has("Service", namespace, name)) {
        warn(
          `${template.path}metadata.annotations["${UPSTREAMS_ANNOTATION}"]`,
          `there is no Service ${namespace}/${name}`,
          "correct the name or add the Service",
        );
      }
    }
  }
  return problems;
}

/** Port 80 becomes 10080, which is on the list of ports that fetch() and browsers never connect to (Fetch standard, "bad port"). */
function fetchRefuses(m: Manifest, f: ManifestFile): ManifestProblem[] {
  const index = ((m.object as Service).spec.ports ?? []).findIndex((p) => reachablePort(p.port) === 10_080);
  if (index < 0) return [];
  const path = `spec.ports[${index}].port`;
  const message = "here the port becomes 10080, to which fetch() and browsers refuse to connect";
  const remedy = "if callers use fetch(), give the Service a port above 1023, such as 8080";
  return [{ severity: "warning", file: f.file, ...locator(f.text, m.index)(path), path, code: "WEFT_BAD_MANIFEST", message, remedy }];
}

/** The names in annotation weft.dev/upstreams; null: all Services of the namespace. */
export function upstreamNames(annotations: Readonly<Record<string, string>> | undefined): readonly string[] | null {
  const text = annotations?.[UPSTREAMS_ANNOTATION];
  if (text === undefined) return null;
  return text
    .split(",")
    .map((s) => s.trim())
    .filter((s) => s !== "");
}

function podTemplate(
  object: KubeObject,
): { path: string; spec: PodSpec; annotations: Readonly<Record<string, string>> | undefined } | null {
  if (object.kind === "Pod") return { path: "", spec: (object as Pod).spec, annotations: object.metadata.annotations };
  if (object.kind !== "Deployment") return null;
  const { template } = (object as Deployment).spec;
  return { path: "spec.template.", spec: template.spec, annotations: template.metadata?.annotations };
}

function checkHead(value: unknown): FieldProblem[] {
  if (!isObject(value)) return [bad("", "the document is not an object", "write apiVersion, kind, metadata and spec")];
  for (const field of ["apiVersion", "kind"]) {
    if (typeof value[field] !== "string")
      return [bad(field, `${field} is missing or not a string`, "every manifest has apiVersion, kind and metadata.name")];
  }
  const { metadata } = value;
  if (!isObject(metadata) || typeof metadata["name"] !== "string")
    return [bad("metadata.name", "metadata.name is missing or not a string", "give the object a name")];
  if (!NAME.test(metadata["name"]) || metadata["name"].length > 253) {
    return [bad("metadata.name", `${JSON.stringify(metadata["name"])} is not a valid name`, "use lower-case letters, digits, - and .")];
  }
  const { namespace } = metadata;
  if (namespace !== undefined && namespace !== null && (typeof namespace !== "string" || !LABEL.test(namespace) || namespace.length > 63)) {
    return [
      bad(
        "metadata.namespace",
        `${JSON.stringify(namespace)} is not a valid namespace`,
        "use lower-case letters, digits and -, at most 63",
      ),
    ];
  }
  return [];
}

function checkMeaning(object: KubeObject): FieldProblem[] {
  if (object.kind === "Service") return checkService(object as Service);
  const template = podTemplate(object);
  if (template === null) return [];
  const problems = checkPodSpec(template.spec, `${template.path}spec`);
  if (object.kind === "Deployment") {
    const { selector, template: t } = (object as Deployment).spec;
    const wanted = Object.entries(selector.matchLabels ?? {});
    if (wanted.length === 0) problems.push(bad("spec.selector.matchLabels", "the selector is empty", "name the labels of the template"));
    for (const [label, want] of wanted) {
      if (t.metadata?.labels?.[label] !== want) {
        problems.push(
          bad(
            `spec.selector.matchLabels["${label}"]`,
            `the template has no label ${label}: ${want}`,
            "give spec.template.metadata.labels what the selector wants",
          ),
        );
      }
    }
  }
  return problems;
}

function checkPodSpec(spec: PodSpec, path: string): FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (spec.containers.length === 0) problems.push(bad(`${path}.containers`, "the pod has no container", "give it one with a command"));
  const names = new Set<string>();
  const ports = new Map<number, string>();
  for (const [i, container] of spec.containers.entries()) {
    const at = `${path}.containers[${i}]`;
    if (names.has(container.name)) problems.push(bad(`${at}.name`, `two containers are called ${container.name}`, "rename one"));
    names.add(container.name);
    if ((container.command ?? []).length === 0) {
      problems.push({
        path: `${at}.command`,
        code: "WEFT_COMMAND_MISSING",
        message: `container ${container.name} has no command`,
        remedy: 'standalone mode does not read images: add `command: ["node", "server.js"]` or the like',
      });
    }
    for (const [j, { containerPort, protocol }] of (container.ports ?? []).entries()) {
      if (protocol !== undefined && protocol !== "TCP") continue;
      const reachable = reachablePort(containerPort);
      const other = ports.get(reachable);
      if (other !== undefined)
        problems.push(
          bad(
            `${at}.ports[${j}].containerPort`,
            `port ${reachable} of the pod is already that of ${other}`,
            "ports below 1024 become port + 10000 here; choose another",
          ),
        );
      ports.set(reachable, `${at}.ports[${j}]`);
    }
  }
  return problems;
}

function checkService(service: Service): FieldProblem[] {
  const problems: FieldProblem[] = [];
  if (!LABEL.test(service.metadata.name) || service.metadata.name.length > 63) {
    problems.push(
      bad(
        "metadata.name",
        `${JSON.stringify(service.metadata.name)} is not a valid name of a Service`,
        "use lower-case letters, digits and -, at most 63",
      ),
    );
  }
  const ports = service.spec.ports ?? [];
  if (ports.length === 0 && service.spec.type !== "ExternalName") problems.push(bad("spec.ports", "the Service has no port", "add one"));
  const seen = new Set<string>();
  for (const [i, p] of ports.entries()) {
    const key = `${p.protocol ?? "TCP"}/${reachablePort(p.port)}`;
    if (seen.has(key))
      problems.push(bad(`spec.ports[${i}].port`, `port ${key} is there twice`, "remove one; ports below 1024 become port + 10000 here"));
    seen.add(key);
    if (ports.length > 1 && (p.name ?? "") === "")
      problems.push(bad(`spec.ports[${i}].name`, "a Service with several ports must name each", "give the port a name"));
  }
  return problems;
}

/** Fields that are right in a cluster and mean nothing here, and whose loss a user would notice. */
function checkUnused(object: KubeObject): FieldProblem[] {
  const template = podTemplate(object);
  if (template === null) return [];
  const problems: FieldProblem[] = [];
  const unused = (path: string): void =>
    void problems.push(bad(path, "not used in standalone mode", "nothing to do if the app can do without here"));
  if ("initContainers" in template.spec) unused(`${template.path}spec.initContainers`);
  for (const [i, container] of template.spec.containers.entries()) {
    if ("envFrom" in container) unused(`${template.path}spec.containers[${i}].envFrom`);
    for (const [j, variable] of (container as Container).env?.entries() ?? []) {
      if ("valueFrom" in variable) unused(`${template.path}spec.containers[${i}].env[${j}].valueFrom`);
    }
  }
  return problems;
}

function withNamespace(object: KubeObject, namespaced: boolean): KubeObject {
  // A status in a file is what someone copied out of a cluster, never what is so here.
  const { status: _, ...rest } = object as KubeObject & { status?: unknown };
  const { namespace, ...metadata } = object.metadata;
  return { ...rest, metadata: namespaced ? { ...metadata, namespace: namespace ?? "default" } : metadata } as KubeObject;
}

function bad(path: string, message: string, remedy: string): FieldProblem {
  return { path, code: "WEFT_BAD_MANIFEST", message, remedy };
}

function nameOf(object: KubeObject): string {
  return object.metadata.namespace === undefined ? object.metadata.name : `${object.metadata.namespace}/${object.metadata.name}`;
}

function lazy<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}
