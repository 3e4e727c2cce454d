import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/**
 * Generates the protobuf code once more, into a temporary folder, and compares it with api/gen byte for byte. Prints each file that
 * differs, is missing or has no source any more, and exits 1. Writes nothing in the repository.
 */
const root = path.resolve(import.meta.dirname, "..");
const fresh = mkdtempSync(path.join(os.tmpdir(), "weft-gen-"));
try {
  execFileSync("buf", ["generate", "--output", fresh], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  const wanted = files(path.join(fresh, "api/gen"));
  const present = files(path.join(root, "api/gen"));
  const stale = [...new Set([...wanted.keys(), ...present.keys()])].sort().filter((name) => wanted.get(name) !== present.get(name));
  for (const name of stale) console.error(`api/gen/${name} is not what api/proto says: run \`make gen\``);
  if (stale.length > 0) process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
}

/** Path below `folder` → content. */
function files(folder: string): Map<string, string> {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    found.map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      return [path.relative(folder, file), readFileSync(file, "utf8")];
    }),
  );
}
