import { monotonicMs, seconds } from "./wait.ts";
import type { World } from "./world.ts";

/** One thing that the demo must show. */
export interface Check {
  /** A sentence; ONLY picks by it. */
  readonly name: string;
  /** Resolves with the figures that it saw; rejects with what is wrong. */
  readonly body: (world: World) => Promise<string>;
}

/** Checks of one step run at the same time, steps after one another. */
export type Lane = readonly (readonly Check[])[];

/** Runs checks and prints a line for each. */
export class Ledger {
  passed = 0;
  failed = 0;
  private readonly world: World;
  private readonly print: (line: string) => void;

  constructor(world: World, print: (line: string) => void) {
    this.world = world;
    this.print = print;
  }

  async lane(lane: Lane): Promise<void> {
    for (const step of lane) await Promise.all(step.map((check) => this.check(check)));
  }

  async check({ name, body }: Check): Promise<void> {
    const startMs = monotonicMs();
    try {
      this.pass(name, await body(this.world), monotonicMs() - startMs);
    } catch (error) {
      this.fail(name, error instanceof Error ? error.message : String(error), monotonicMs() - startMs);
    }
  }

  pass(name: string, figures: string, tookMs: number): void {
    this.passed++;
    this.print(`ok      ${name}: ${figures} (${seconds(tookMs)} s)`);
  }

  fail(name: string, why: string, tookMs: number): void {
    this.failed++;
    this.print(`FAILED  ${name}: ${why.replaceAll("\n", "\n        ")} (${seconds(tookMs)} s)`);
  }
}
