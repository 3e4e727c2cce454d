import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type DescMessage, type Message, toJson } from "@bufbuild/protobuf";
import { Document, isCollection, visit } from "yaml";
import { EndpointsSchema, ServiceSchema, WorkloadSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { type PlannedDocument, type PlannedStatus, plan, planMesh, ResourceIndex } from "./plan.ts";
import { read } from "./testdata/read.ts";

/** A first document of kind Golden in an .in.yaml: what of the plan to show, and what was last good. */
interface Golden extends KubeObject {
  readonly show?: readonly string[];
  readonly lastGood?: readonly KubeObject[];
}

const folder = new URL("./testdata/", import.meta.url);
const cases = readdirSync(folder).filter((file) => file.endsWith(".in.yaml"));
const SCHEMAS: Readonly<Record<string, DescMessage>> = { workload: WorkloadSchema, service: ServiceSchema, endpoints: EndpointsSchema };

function showDocument(document: PlannedDocument): unknown {
  const schema = SCHEMAS[document.key.split("/")[0] ?? ""] ?? ServiceSchema;
  const body = toJson(schema, document.body as Message);
  return { ...(document.requires.length === 0 ? {} : { requires: [...document.requires] }), ...(body as object) };
}

function showStatus({ ancestors, conditions }: PlannedStatus): unknown {
  if (ancestors === null) return conditions;
  return ancestors.map((ancestor) => ({ [`${ancestor.ancestorRef.kind} ${ancestor.ancestorRef.name}`]: ancestor.conditions }));
}

function run(objects: readonly KubeObject[]): unknown {
  const golden = objects.find((object) => object.kind === "Golden") as Golden | undefined;
  const others = objects.filter((object) => object.kind !== "Golden");
  const lastGood = new Map(
    (golden?.lastGood ?? []).map((object) => [`${object.kind}/${object.metadata.namespace}/${object.metadata.name}`, object]),
  );
  const { documents, statuses } = plan({ others, lastGood });
  const shown: Record<string, unknown> = {};
  for (const key of golden?.show ?? [...documents.keys(), ...statuses.keys()]) {
    const document = documents.get(key);
    const status = statuses.get(key);
    shown[key] = document !== undefined ? showDocument(document) : status !== undefined ? showStatus(status) : null;
    if (key === "mesh") {
      const index = new ResourceIndex();
      index.replace(others, { lastGood });
      shown[key] = planMesh(index);
    }
  }
  return shown;
}

/** YAML with everything that fits on a line on one line, so that a person can review it. */
function render(value: unknown): string {
  const document = new Document(value);
  visit(document, {
    Collection(_key, node, path) {
      if (path.length > 1 && isCollection(node) && JSON.stringify(node).length < 120) node.flow = true;
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: false });
}

describe("a plan", () => {
  it("has at least 15 golden pairs", () => {
    assert.ok(cases.length >= 15, `${cases.length}`);
  });
  it.each(cases)("%s", (file) => {
    const rendered = render(run(read(readFileSync(new URL(file, folder), "utf8"))));
    const out = new URL(file.replace(".in.yaml", ".out.yaml"), folder);
    if (process.env["UPDATE"] === "1") writeFileSync(out, rendered);
    assert.equal(rendered, readFileSync(out, "utf8"));
    assert.ok(rendered.split("\n").length <= 60, "longer than a screen: show less of it");
  });
});
