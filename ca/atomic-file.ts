import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Replaces the file whole or not at all, also when the machine dies in between: written beside it, synced,
 * renamed, and the folder synced so that the rename lasts. Throws what the file system says.
 */
export function writeAtomically(path: string, content: string | Uint8Array, mode: number): void {
  const beside = `${path}.tmp`;
  // Left over from a crash; "wx" below then also refuses a link that someone put there.
  rmSync(beside, { force: true });
  const file = openSync(beside, "wx", mode);
  try {
    const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(beside, path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
