import assert from "node:assert/strict";
import { crossCheck, crossHints, readManifestFile } from "./manifests.ts";

const POD = `apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - name: a
    command: ["node"]
`;

/** "severity line:column path CODE". */
function problemsOf(text: string): string[] {
  return readManifestFile("f.yaml", text).problems.map((p) => `${p.severity} ${p.line}:${p.column} ${p.path} ${p.code}`);
}

describe("a manifest file", () => {
  const cases: readonly { readonly name: string; readonly text: string; readonly problems: readonly string[]; readonly broken: boolean }[] =
    [
      { name: "is taken when all is right", text: POD, problems: [], broken: false },
      { name: "may be empty", text: "\n# nothing\n", problems: [], broken: false },
      { name: "may hold empty documents", text: `---\n---\n${POD}---\n`, problems: [], broken: false },
      { name: "is broken by YAML that does not close", text: "a: [1,\nb: 2\n", problems: ["error 2:1  WEFT_BAD_YAML"], broken: true },
      { name: "is broken by a key that is there twice", text: "a: 1\na: 2\n", problems: ["error 2:1  WEFT_BAD_YAML"], broken: true },
      { name: "is broken by a tab as indentation", text: "a:\n\tb: 1\n", problems: ["error 2:1  WEFT_BAD_YAML"], broken: true },
      { name: "must hold objects", text: "- 1\n", problems: ["error 1:1  WEFT_BAD_MANIFEST"], broken: true },
      {
        name: "must say the kind",
        text: "apiVersion: v1\nmetadata: {name: a}\n",
        problems: ["error 1:1 kind WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "must name the object",
        text: "apiVersion: v1\nkind: Pod\nmetadata: {}\n",
        problems: ["error 3:1 metadata.name WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "must not name it with a path in it",
        text: "apiVersion: v1\nkind: Pod\nmetadata: {name: ../x}\n",
        problems: ["error 3:12 metadata.name WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "must give each container a command",
        text: POD.replace('    command: ["node"]\n', "    image: x\n"),
        problems: ["error 6:5 spec.containers[0].command WEFT_COMMAND_MISSING"],
        broken: true,
      },
      {
        name: "must not misspell a field",
        text: POD.replace("command", "comand"),
        problems: ["error 7:5 spec.containers[0].comand WEFT_UNKNOWN_FIELD"],
        broken: true,
      },
      {
        name: "must use the type of a field",
        text: POD.replace('["node"]', "node"),
        problems: ["error 7:5 spec.containers[0].command WEFT_INVALID_FIELD"],
        broken: true,
      },
      {
        name: "must quote numbers in env, as a cluster demands",
        text: `${POD}    env: [{name: A, value: 1}]\n`,
        problems: ["error 8:21 spec.containers[0].env[0].value WEFT_INVALID_FIELD"],
        broken: true,
      },
      {
        name: "must not give two containers one port, counted as it is here",
        text: `${POD}    ports: [{containerPort: 80}]\n  - name: b\n    command: [x]\n    ports: [{containerPort: 10080}]\n`,
        problems: ["error 11:14 spec.containers[1].ports[0].containerPort WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "is told of a version that a kind does not have",
        text: POD.replace("v1", "v2"),
        problems: ["error 1:1 apiVersion WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "is told of a kind of another group",
        text: POD.replace("Pod", "Deployment"),
        problems: ["error 1:1 apiVersion WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "is told of a kind that looks misspelt",
        text: POD.replace("Pod", "Srvice"),
        problems: ["error 2:1 kind WEFT_BAD_MANIFEST"],
        broken: true,
      },
      {
        name: "may hold kinds that only a cluster uses",
        text: POD.replace("kind: Pod", "kind: ConfigMap"),
        problems: ["warning 1:1  WEFT_BAD_MANIFEST"],
        broken: false,
      },
      {
        name: "is not broken by a policy that is wrong: its status says so",
        text: "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: a}\nspec:\n  targetRefs: [{group: '', kind: Service, name: a}]\n  rutes: []\n",
        problems: ["error 6:3 spec.rutes WEFT_UNKNOWN_FIELD"],
        broken: false,
      },
      {
        name: "is told what a container's field means nothing here",
        text: `${POD}    envFrom: []\n`,
        problems: ["warning 8:5 spec.containers[0].envFrom WEFT_BAD_MANIFEST"],
        broken: false,
      },
    ];
  for (const { name, text, problems, broken } of cases) {
    it(name, () => {
      assert.deepEqual(problemsOf(text), problems);
      assert.equal(readManifestFile("f.yaml", text).broken, broken);
    });
  }

  it("refuses aliases that multiply, in no time", () => {
    const lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"];
    for (let i = 1; i < 9; i++) lines.push(`${"abcdefghi"[i]}: &${"abcdefghi"[i]} [${`*${"abcdefghi"[i - 1]},`.repeat(10)}]`);
    assert.deepEqual(problemsOf(lines.join("\n")), ["error 1:1  WEFT_BAD_YAML"]);
  });

  it("puts namespaced objects without a namespace into default and drops a copied status", () => {
    const [manifest] = readManifestFile("f.yaml", `${POD}status: {phase: Running}\n`).manifests;
    assert.equal(manifest?.object.metadata.namespace, "default");
    assert.equal(manifest?.object.status, undefined);
  });
});

describe("several files", () => {
  it("must not define one object twice", () => {
    const files = ["a.yaml", "b.yaml"].map((f) => readManifestFile(f, POD));
    const [problem] = crossCheck(files, () => true);
    assert.deepEqual(
      [problem?.file, problem?.line, problem?.column, problem?.message],
      ["b.yaml", 3, 12, "Pod default/a is defined twice, first at a.yaml:1"],
    );
  });

  it("must name folders that exist", () => {
    const text = POD.replace("{name: a}", "{name: a, annotations: {weft.dev/run-in: nowhere}}");
    const [problem] = crossCheck([readManifestFile("a.yaml", text)], () => false);
    assert.deepEqual([problem?.line, problem?.column, problem?.code], [3, 35, "WEFT_BAD_MANIFEST"]);
  });

  it("hint at a ServiceAccount that a cluster would miss and at an upstream that is not there", () => {
    const text = POD.replace("{name: a}", "{name: a, annotations: {weft.dev/upstreams: web}}").replace(
      "spec:",
      "spec:\n  serviceAccountName: sa",
    );
    const found = crossHints([readManifestFile("a.yaml", text)]);
    assert.deepEqual(
      found.map((p) => [p.severity, p.line]),
      [
        ["warning", 5],
        ["warning", 3],
      ],
    );
  });
});
