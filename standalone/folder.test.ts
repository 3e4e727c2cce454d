import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ManifestFolder } from "./folder.ts";

const service = (name: string, port = 8080): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {ports: [{port: ${port}}]}\n`;

describe("a folder of manifests", () => {
  let folder: string;
  let manifests: ManifestFolder;
  const write = (name: string, text: string): void => fs.writeFileSync(path.join(folder, name), text);
  const look = (confirmed = false) => {
    const found = manifests.look(confirmed);
    const short = (files: readonly string[]): string[] => files.map((f) => path.basename(f));
    return {
      applied: short(found.applied),
      kept: short(found.kept),
      problems: found.problems.length,
      names: found.objects.map((o) => o.metadata.name),
      vanished: found.vanished,
    };
  };

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-folder-test-"));
    manifests = new ManifestFolder(folder);
  });
  afterEach(() => fs.rmSync(folder, { recursive: true }));

  it("is read by name, without hidden files and sub-folders", () => {
    fs.mkdirSync(path.join(folder, "sub.yaml"));
    write("b.yml", service("b"));
    write("a.yaml", service("a"));
    write(".hidden.yaml", service("c"));
    write("notes.txt", "not: [yaml");
    fs.rmdirSync(path.join(folder, "sub.yaml"));
    assert.deepEqual(look(true), { applied: ["a.yaml", "b.yml"], kept: [], problems: 0, names: ["a", "b"], vanished: false });
    assert.deepEqual(look(), { applied: [], kept: [], problems: 0, names: ["a", "b"], vanished: false });
  });

  it("keeps what a broken file said, says so once, and takes its correction", () => {
    write("a.yaml", service("a"));
    look(true);
    write("a.yaml", "kind: [");
    assert.deepEqual(look(), { applied: [], kept: ["a.yaml"], problems: 1, names: ["a"], vanished: false });
    assert.deepEqual(look(), { applied: [], kept: [], problems: 0, names: ["a"], vanished: false });
    write("a.yaml", service("c"));
    assert.deepEqual(look().names, ["c"]);
  });

  it("believes that a file is empty or gone only when asked again", () => {
    write("a.yaml", service("a"));
    write("b.yaml", service("b"));
    look(true);
    write("a.yaml", "");
    fs.rmSync(path.join(folder, "b.yaml"));
    assert.deepEqual(look(), { applied: [], kept: [], problems: 0, names: ["a", "b"], vanished: true });
    assert.deepEqual(look(true), { applied: ["a.yaml", "b.yaml"], kept: [], problems: 0, names: [], vanished: false });
  });

  it("refuses a file that repeats another's object, and takes it once the other gave the object up", () => {
    write("a.yaml", service("a"));
    write("b.yaml", service("b"));
    look(true);
    write("b.yaml", service("a", 9090));
    assert.deepEqual(look(), { applied: [], kept: ["b.yaml"], problems: 1, names: ["a", "b"], vanished: false });
    write("c.yaml", service("c"));
    assert.deepEqual(look().names, ["a", "b", "c"], "a third file is not held up");
    write("a.yaml", service("d"));
    assert.deepEqual(look().names, ["d", "a", "c"]);
  });

  it("knows where a field stands", () => {
    write("a.yaml", `${service("x")}---\n${service("a")}`);
    look(true);
    const at = manifests.locate("Service", "default", "a", "spec.ports[0].port");
    assert.deepEqual([path.basename(at?.file ?? ""), at?.line, at?.column], ["a.yaml", 9, 17]);
    assert.equal(manifests.locate("Service", "default", "nobody", ""), null);
  });
});
