import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { Document, isCollection, parseAllDocuments, visit } from "yaml";
import { decide } from "./decide.ts";
import { mesh, patchFor } from "./patch.ts";
import { record, type Json } from "./pod.ts";
import { applyPatch } from "./test-apply.ts";
import { SETTINGS } from "./test-settings.ts";

/**
 * A first document of kind Golden says where the pod is created and which parts of the result to show ("spec.containers.app",
 * lists by name or index). `again`: what others do to the pod after its first injection, as paths and values; the result
 * is then the second one's.
 */
interface Golden {
  readonly namespace?: string;
  readonly namespaceLabels?: Readonly<Record<string, string>>;
  readonly show?: readonly string[];
  readonly again?: readonly { readonly op: "add" | "replace"; readonly path: string; readonly value: unknown }[];
}

const folder = new URL("./testdata/", import.meta.url);
const cases = readdirSync(folder).filter((file) => file.endsWith(".in.yaml"));

function read(file: string): { golden: Golden; pod: Json } {
  const objects = parseAllDocuments(readFileSync(new URL(file, folder), "utf8")).map((document) =>
    record(document.toJS({ maxAliasCount: 0 })),
  );
  return {
    golden: (objects.find(({ kind }) => kind === "Golden") ?? {}) as Golden,
    pod: objects.find(({ kind }) => kind === "Pod") ?? {},
  };
}

function run({ golden, pod }: { golden: Golden; pod: Json }): unknown {
  const { namespace = "shop", namespaceLabels = { "weft.dev/inject": "enabled" }, show = [], again } = golden;
  let from = pod;
  if (again !== undefined) from = applyPatch(applyPatch(pod, patchFor(pod, SETTINGS)), again) as Json;
  const decision = decide({ pod: from, namespace, namespaceLabels, systemNamespace: SETTINGS.systemNamespace });
  if (decision.action !== "inject") return { decision };
  const patch = patchFor(from, SETTINGS);
  const after = applyPatch(from, patch);
  assert.deepEqual(after, mesh(from, SETTINGS));
  assert.deepEqual(patchFor(after as Json, SETTINGS), []);
  const shown = Object.fromEntries(show.map((path) => [path, at(after, path.split("."))]));
  return { decision, patch: patch.map((one) => `${one.op} ${"from" in one ? `${one.from} to ` : ""}${one.path}`), ...shown };
}

function at(value: unknown, [step, ...rest]: readonly string[]): unknown {
  if (step === undefined) return value;
  const inner = Array.isArray(value) ? (value.find((item) => record(item)["name"] === step) ?? value[Number(step)]) : record(value)[step];
  return at(inner, rest);
}

function render(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Collection(_key, node, path) {
      if (path.length > 1 && isCollection(node) && JSON.stringify(node).length < 120) node.flow = true;
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

describe("an injection", () => {
  it("has at least 15 golden pairs", () => {
    assert.ok(cases.length >= 15, `${cases.length}`);
  });
  it.each(cases)("%s", (file) => {
    const rendered = render(run(read(file)));
    const out = new URL(file.replace(".in.yaml", ".out.yaml"), folder);
    if (process.env["UPDATE"] === "1") writeFileSync(out, rendered);
    assert.equal(rendered, readFileSync(out, "utf8"));
    assert.ok(rendered.split("\n").length <= 75, "longer than a screen: show less of it");
  });
});
