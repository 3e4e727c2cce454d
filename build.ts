import { mkdir, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildResult, build, formatMessages } from "esbuild";

/**
 * `node build.ts` writes the two bundles that bin/weft.js runs: dist/weft.js (everything) and dist/proxy.js (the
 * sidecar, which must not carry the rest: many of them run on one machine). Exits 1 when one cannot be built.
 */

export const ROOT = path.dirname(fileURLToPath(import.meta.url));

export interface Bundle {
  /** File name in dist/. */
  readonly name: string;
  readonly entry: string;
}

export const BUNDLES: readonly Bundle[] = [
  { name: "weft.js", entry: "cli/main.ts" },
  { name: "proxy.js", entry: "cli/proxy-main.ts" },
];

// CommonJS dependencies call `require` for Node's own modules; an ES module has none.
const BANNER = 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);';

/** Bundles in memory; the metafile says which source files went in. Rejects with esbuild's own failure. */
export function bundle({ name, entry }: Bundle): Promise<BuildResult<{ write: false; metafile: true }>> {
  return build({
    absWorkingDir: ROOT,
    entryPoints: [entry],
    outfile: `dist/${name}`,
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    target: "node26",
    banner: { js: BANNER },
    // Dead branches go; names stay, so that a stack trace in a log can be read.
    minifySyntax: true,
    keepNames: false,
    legalComments: "none",
    logLevel: "silent",
  });
}

/** Writes beside and renames: a `weft` that starts meanwhile reads the old bundle or the new one, never half of one. */
async function write(file: string, contents: Uint8Array): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const fresh = `${file}.${process.pid}.new`;
  await writeFile(fresh, contents);
  await rename(fresh, file);
}

if (import.meta.main) {
  for (const one of BUNDLES) {
    try {
      const { outputFiles, warnings } = await bundle(one);
      for (const text of await formatMessages(warnings, { kind: "warning" })) process.stderr.write(text);
      for (const file of outputFiles) {
        await write(file.path, file.contents);
        console.log(`dist/${one.name}: ${Math.ceil(file.contents.length / 1024)} KiB`);
      }
    } catch (error) {
      const failure = error as { errors?: Parameters<typeof formatMessages>[0] };
      const texts = failure.errors === undefined ? [String(error)] : await formatMessages(failure.errors, { kind: "error" });
      process.stderr.write(`dist/${one.name} cannot be built from ${one.entry}:\n${texts.join("")}\n`);
      process.exitCode = 1;
    }
  }
}
