import { createHash } from "node:crypto";
import net from "node:net";
import { RANGES } from "./addresses.ts";

/** Held until `release` or the end of the process, however it ends: a name in the abstract socket space, which the kernel frees. */
export interface Lock {
  release(): void;
}

/** Null: someone else in this network namespace holds it. Rejects when the system refuses for another reason. */
export function acquire(name: string): Promise<Lock | null> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => (error.code === "EADDRINUSE" ? resolve(null) : reject(error)));
    server.listen({ path: `\0weft-${name}` }, () => {
      server.unref();
      resolve({ release: () => server.close() });
    });
  });
}

/** The first free range; null when all are taken. */
export async function acquireRange(): Promise<{ range: number; lock: Lock } | null> {
  for (let range = 0; range < RANGES; range++) {
    const lock = await acquire(`range-${range}`);
    if (lock !== null) return { range, lock };
  }
  return null;
}

/** The lock of a state folder, by its real path: two runs must not write one folder. */
export function acquireState(realPath: string): Promise<Lock | null> {
  return acquire(`state-${createHash("sha256").update(realPath).digest("hex").slice(0, 32)}`);
}
