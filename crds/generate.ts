import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { definitionFiles } from "./definitions.ts";

/**
 * `node crds/generate.ts` writes the CustomResourceDefinitions beside this file; with `--check` it writes nothing and
 * exits 1 naming each file that differs from what would be written, is missing, or should not be there.
 */
const folder = new URL("./", import.meta.url);
const files = definitionFiles();
const present = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
const stale = [
  ...[...files]
    .filter(([name, text]) => !present.includes(name) || readFileSync(new URL(name, folder), "utf8") !== text)
    .map(([name]) => name),
  ...present.filter((name) => !files.has(name)),
];

if (process.argv.includes("--check")) {
  for (const name of stale) console.error(`crds/${name} is not what api/resources says: run \`node crds/generate.ts\``);
  if (stale.length > 0) process.exitCode = 1;
} else {
  for (const name of stale) {
    const text = files.get(name);
    if (text === undefined) rmSync(new URL(name, folder));
    else writeFileSync(new URL(name, folder), text);
    console.log(`crds/${name}`);
  }
}
