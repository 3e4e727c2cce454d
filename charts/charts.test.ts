import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { PORTS } from "#api/ports.ts";
import { VERSION } from "#api/version.ts";
import { templates } from "./generate.ts";

/** What can be told without Helm; `helm lint`, `helm template` and an API server tell the rest. */
const textOf = (file: string): string => readFileSync(new URL(file, import.meta.url), "utf8");
const files = [...readdirSync(new URL("weft/templates/", import.meta.url))].filter((file) => file.endsWith(".yaml"));
/** Comments apart: of the template and of YAML. */
const code = (file: string): string =>
  textOf(`weft/templates/${file}`)
    .replace(/\{\{-?\s*\/\*[\s\S]*?\*\/\s*-?\}\}/g, "")
    .replace(/^\s*#.*$/gm, "");

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** Paths of all values that are no map, or an empty one. */
function leaves(value: unknown, path: readonly string[] = []): string[] {
  const inner = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  return inner.length === 0 ? [path.join(".")] : inner.flatMap(([key, one]) => leaves(one, [...path, key]));
}

describe("chart weft-crds", () => {
  it("has the definitions that crds/ has, kept on uninstall", () => {
    for (const [file, text] of templates()) {
      assert.equal(textOf(`weft-crds/templates/${file}`), text, file);
      assert.match(text, /helm\.sh\/resource-policy: keep/, file);
    }
    assert.equal(templates().size, 3);
  });
});

describe("chart weft", () => {
  it("never has what is written at run time: caBundle, and the data of its Secrets and ConfigMaps", () => {
    const found = files.filter((file) => /caBundle|^\s*(data|stringData|binaryData):/m.test(code(file)));
    assert.deepEqual(found, []);
  });

  it("is not installed by mistake while the sidecar cannot start in a cluster", () => {
    const values = parse(textOf("weft/values.yaml")) as { preview: boolean };
    assert.equal(values.preview, false);
    assert.match(code("preview.yaml"), /if not \.Values\.preview[\s\S]*fail "/);
  });

  it("has this version, as have the kinds", () => {
    const versions = ["weft", "weft-crds"].map((chart) => parse(textOf(`${chart}/Chart.yaml`)) as { version: string; appVersion: string });
    assert.deepEqual(
      versions.flatMap(({ version, appVersion }) => [version, appVersion]),
      [VERSION, VERSION, VERSION, VERSION],
    );
  });

  it("names in its schema every value that it has, and uses each", () => {
    const values: unknown = parse(textOf("weft/values.yaml"));
    const schema = JSON.parse(textOf("weft/values.schema.json")) as Schema;
    const all = files.map(code).join("\n") + textOf("weft/templates/_names.tpl") + textOf("weft/templates/NOTES.txt");
    const wholes = leaves(values).map((path) => path.split(".").slice(0, path.includes("resources") ? 2 : 9));
    const unknown = wholes.filter((path) => path.reduce((at: Schema | undefined, step) => at?.properties?.[step], schema) === undefined);
    const unused = wholes.filter((path) => !all.includes(path.at(-1)!));
    assert.deepEqual([unknown, unused], [[], []]);
  });

  it("opens the ports of api/ports.ts", () => {
    const ports = [...code("operator.yaml").matchAll(/containerPort: (\d+)/g), ...code("injector.yaml").matchAll(/containerPort: (\d+)/g)];
    assert.deepEqual(
      ports.map(([, port]) => Number(port)),
      [PORTS.operatorGrpc, PORTS.operatorDashboard, PORTS.operatorAdmin, PORTS.webhook, PORTS.webhookAdmin],
    );
  });

  it("asks nobody for kube-system or Weft's own namespace in any webhook that is about pods", () => {
    const text = code("injector-webhooks.yaml");
    const excluded = text.match(/operator: NotIn, values: \[kube-system, kube-public, kube-node-lease, weft-system\]/g) ?? [];
    assert.equal(excluded.length, (text.match(/namespaceSelector:/g) ?? []).length);
  });
});
