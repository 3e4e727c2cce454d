import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Clock } from "#api/clock.ts";
import { PORTS } from "#api/ports.ts";
import type { Attestor, Source, StatusWriter } from "#api/store.ts";
import { createLogger, type LogLevel } from "#runtime/logger.ts";
import { createOperator, type OperatorOptions } from "./operator.ts";

/** Longer than all steps of a stop together; then the process ends whatever hangs. */
const STOP_MS_MAX = 10_000;

export interface OperatorSettings {
  /** Where resources come from, statuses go to, and tokens are checked. */
  readonly source: Source;
  readonly statusWriter: StatusWriter;
  readonly attestor: Attestor;
  readonly clock: Clock;
  /** Folder of the run or of the replica; the operator's own files lie in `operator/` in it. */
  readonly state: string;
  /** Address to listen on; the ports are those of `api/ports.ts`. */
  readonly address: string;
  readonly logLevel: LogLevel;
  /** What else this binary counts. */
  readonly metrics?: OperatorOptions["metrics"];
  readonly openAuthority?: OperatorOptions["openAuthority"];
  /** When it is told to stop: gives up what other replicas wait for. Never rejects. */
  readonly beforeStop?: () => Promise<void>;
}

/** The operator as a process. Resolves with the exit code: 0 after SIGTERM or SIGINT, 1 when it cannot start. */
export function runOperator(settings: OperatorSettings): Promise<number> {
  const { source, statusWriter, attestor, clock, state, address, logLevel, metrics, openAuthority, beforeStop } = settings;
  const logger = createLogger((line) => process.stderr.write(line), clock, logLevel, { part: "operator" });
  const operator = createOperator({
    source,
    statusWriter,
    attestor,
    clock,
    random: Math.random,
    randomBytes,
    logger,
    stateDir: join(state, "operator"),
    listen: { address, grpcPort: PORTS.operatorGrpc, adminPort: PORTS.operatorAdmin },
    ...(metrics === undefined ? {} : { metrics }),
    ...(openAuthority === undefined ? {} : { openAuthority }),
  });
  return new Promise((resolve) => {
    const stop = (signal: string): void => {
      logger.info("stopping", { signal });
      clock.after(STOP_MS_MAX, () => resolve(0));
      void Promise.all([beforeStop?.(), operator.stop()]).then(() => resolve(0));
    };
    process.once("SIGTERM", () => stop("SIGTERM"));
    process.once("SIGINT", () => stop("SIGINT"));
    operator.start().catch((error: Error) => {
      logger.error("the operator cannot start", { error: error.message });
      resolve(1);
    });
  });
}
