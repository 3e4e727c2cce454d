import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";

const OWNER_ONLY = 0o600;
/** O_NOFOLLOW: a link planted in the folder must not make us write or read elsewhere. */
const WRITE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

/**
 * Writes a file whole or not at all: beside it first, then renamed over it. Mode 0600 from its first byte.
 * Throws what the file system says.
 */
export function writeStateFileSync(path: string, parts: readonly Uint8Array[]): void {
  const beside = `${path}.new`;
  const file = openSync(beside, WRITE_FLAGS, OWNER_ONLY);
  try {
    for (const part of parts) for (let at = 0; at < part.length; ) at += writeSync(file, part, at);
    fsyncSync(file);
  } catch (error) {
    closeSync(file);
    unlinkSync(beside);
    throw error;
  }
  closeSync(file);
  renameSync(beside, path);
}

/** As `writeStateFileSync`, without holding up the event loop. Not to be called again for the same path before it ended. */
export async function writeStateFile(path: string, parts: readonly Uint8Array[]): Promise<void> {
  // Another name than the synchronous one takes: that may run at shutdown while this is under way.
  const beside = `${path}.next`;
  const file = await open(beside, WRITE_FLAGS, OWNER_ONLY);
  try {
    await file.writeFile(Buffer.concat(parts));
  } catch (error) {
    await file.close();
    await unlink(beside);
    throw error;
  }
  await file.close();
  await rename(beside, path);
}

/**
 * The content, or null when there is no such file, it is larger than `bytesMax`, or somebody else could
 * have written or read it (owner other than us, or any permission for others).
 */
export function readStateFile(path: string, bytesMax: number): Buffer | null {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return null;
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > bytesMax || (stat.mode & 0o077) !== 0 || stat.uid !== process.getuid?.()) return null;
    const content = Buffer.alloc(stat.size);
    let at = 0;
    for (let read = -1; at < content.length && read !== 0; at += read) read = readSync(file, content, at, content.length - at, at);
    return content.subarray(0, at);
  } catch {
    return null;
  } finally {
    closeSync(file);
  }
}
