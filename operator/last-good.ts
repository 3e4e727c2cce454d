import { mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "#api/clock.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { writeAtomically } from "#ca/atomic-file.ts";
import type { Logger } from "#runtime/logger.ts";

/** Changes this close together are written once. */
const WRITE_AFTER_MS = 200;
const VERSION = 1;

/**
 * The last accepted generation of each policy, in `<state>/last-good.json`, so that an operator that restarts
 * beside an invalid policy goes on with what was in force.
 */
export class LastGoodFile {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #cancel: (() => void) | null = null;
  #content: (() => ReadonlyMap<string, KubeObject>) | null = null;

  constructor(stateDir: string, clock: Clock, logger: Logger) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    this.#path = join(stateDir, "last-good.json");
    this.#clock = clock;
    this.#logger = logger;
  }

  /** By "kind/namespace/name". A file that cannot be read is set aside and nothing is known: better than not to start. */
  load(): Map<string, KubeObject> {
    let text: string;
    try {
      text = readFileSync(this.#path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") this.#setAside(error as Error);
      return new Map();
    }
    try {
      const parsed = JSON.parse(text) as { version?: unknown; objects?: unknown };
      if (parsed.version !== VERSION || typeof parsed.objects !== "object" || parsed.objects === null)
        throw new Error("not in the form that this version writes");
      return new Map(Object.entries(parsed.objects).filter(([, object]) => isObject(object)));
    } catch (error) {
      this.#setAside(error as Error);
      return new Map();
    }
  }

  /** Writes what `content` says, a moment later. */
  save(content: () => ReadonlyMap<string, KubeObject>): void {
    this.#content = content;
    this.#cancel ??= this.#clock.after(WRITE_AFTER_MS, () => this.flush());
  }

  /** Writes now what `save` was asked to. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = null;
    const content = this.#content;
    this.#content = null;
    if (content === null) return;
    try {
      writeAtomically(this.#path, `${JSON.stringify({ version: VERSION, objects: Object.fromEntries(content()) })}\n`, 0o600);
    } catch (error) {
      this.#logger.error("the last good policies were not saved", { file: this.#path, error: (error as Error).message });
    }
  }

  #setAside(error: Error): void {
    const aside = `${this.#path}.broken`;
    try {
      renameSync(this.#path, aside);
    } catch {
      // Not even that: the log line below says what to look at.
    }
    this.#logger.error("WEFT_BAD_STATE: the last good policies cannot be read; policies that are invalid now have no earlier form", {
      file: aside,
      error: error.message,
    });
  }
}

function isObject(value: unknown): value is KubeObject {
  const object = value as Partial<KubeObject> | null;
  return typeof object === "object" && object !== null && typeof object.kind === "string" && typeof object.metadata?.name === "string";
}
