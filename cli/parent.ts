import { dieWithParent } from "#runtime/die-with-parent.ts";

/** A process that a run (or bin/weft.js) started ends with it, however that ends. Elsewhere it does nothing. */
export function bindToParent(): void {
  const parent = process.env["WEFT_PARENT_PID"];
  if (parent === undefined) return;
  delete process.env["WEFT_PARENT_PID"];
  if (!dieWithParent(Number(parent))) process.exit(1);
}
