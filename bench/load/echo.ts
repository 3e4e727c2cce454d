import { fileURLToPath } from "node:url";
import type { Target } from "../peers/target.ts";
import type { Processes } from "../processes.ts";
import type { LoadResult } from "./load.ts";

const CELL_MS = 20_000;
const PROGRAM = fileURLToPath(new URL("./echo-program.ts", import.meta.url));

/** Echoes of 100 bytes, one at a time on each connection; with `fresh` each on a connection of its own. Rejects unless all came back whole. */
export async function echo(processes: Processes, target: Target, echoes: number, connections: number, fresh: boolean): Promise<LoadResult> {
  const args = [PROGRAM, target.host, String(target.port), String(connections), String(echoes), fresh ? "fresh" : "kept"];
  const text = await processes.finish({ name: "echo-load", program: process.execPath, args }, CELL_MS);
  return JSON.parse(text) as LoadResult;
}
