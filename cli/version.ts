import fs from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { PACKAGE_ROOT } from "./state.ts";

/** The version of the package. */
export function version(): string {
  const { version: text } = JSON.parse(fs.readFileSync(path.join(PACKAGE_ROOT, "package.json"), "utf8")) as { version: string };
  return text;
}

export function versionCommand(): Command {
  return new Command("version").description("print the versions of Weft and of the Node it runs on").action(() => {
    process.stdout.write(`weft ${version()}\nnode ${process.versions.node}\n`);
  });
}
